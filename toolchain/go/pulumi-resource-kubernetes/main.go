// Command pulumi-resource-kubernetes is the Pulumi plugin for Kubernetes.
//
// The provider module keeps its schema and its Terraform mapping beside its own main package, in a form that has no
// version yet. The build takes both from the module, writes the version into the schema, and lays them here.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema-embed.json
var schema []byte

//go:embed terraform-mapping-embed.json
var terraformMapping []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, terraformMapping)
}
