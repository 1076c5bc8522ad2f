// Command pulumi-resource-hcloud is the Pulumi plugin for Hetzner Cloud.
//
// The two embedded files are not in the repository: pulumi-tfgen-hcloud writes them into the build directory.
package main

import (
	"context"
	_ "embed"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"

	hcloud "isthmus/toolchain/pulumi-resource-hcloud"
)

//go:embed schema.json
var schema []byte

//go:embed bridge-metadata.json
var metadata []byte

func main() {
	ctx := context.Background()
	tfbridge.MainWithMuxer(ctx, hcloud.Name, hcloud.Provider(ctx, metadata), schema)
}
