// Command pulumi-tfgen-hcloud writes the schema and the bridge metadata that the plugin embeds.
package main

import (
	"context"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfgen"

	hcloud "isthmus/toolchain/pulumi-resource-hcloud"
)

func main() {
	tfgen.MainWithMuxer(hcloud.Name, hcloud.Provider(context.Background(), []byte("{}")))
}
