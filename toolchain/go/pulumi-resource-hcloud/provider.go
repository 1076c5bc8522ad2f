// Package hcloud bridges the Terraform provider of Hetzner Cloud to Pulumi.
//
// It owns the description that both the schema generator and the plugin read: which tokens exist, how ids and names
// are made. It does not own any behaviour of a resource, that is the upstream provider's.
package hcloud

import (
	"context"

	upstream "github.com/hetznercloud/terraform-provider-hcloud/hcloud"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
	sdkv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Version is the release of the pulumi-hcloud package that this plugin stands for; the linker sets it.
var Version = "0.0.0"

// Name is the package name, the first part of every token.
const Name = "hcloud"

// Provider describes the bridged provider. The metadata is what the generator wrote on its last run, or "{}" on the first.
func Provider(ctx context.Context, metadata []byte) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            pf.MuxShimWithPF(ctx, sdkv2.NewProvider(upstream.Provider()), upstream.NewPluginProvider()),
		Name:         Name,
		Version:      Version,
		License:      "Apache-2.0",
		Description:  "Hetzner Cloud resources.",
		Repository:   "https://github.com/pulumi/pulumi-hcloud",
		GitHubOrg:    "hetznercloud",
		MetadataInfo: tfbridge.NewProviderMetadata(metadata),
		Resources:    map[string]*tfbridge.ResourceInfo{"hcloud_server": {PreCheckCallback: explicitAliasIPs}},
		// Without a path the generator looks for the upstream documentation, which a plugin does not need.
		UpstreamRepoPath: ".",
	}
	info.MustComputeTokens(tokens.SingleModule(Name+"_", "index", tokens.MakeStandard(Name)))
	info.P.ResourcesMap().Range(func(name string, res shim.Resource) bool {
		if id, ok := res.Schema().GetOk("id"); ok && id.Type() != shim.TypeString {
			useStringID(info.Resources[name])
		}
		return true
	})
	// The official package makes names of up to 255 characters with a dash before the random suffix.
	info.SetAutonaming(255, "-")
	return info
}

// useStringID lets a resource whose upstream id is a number keep a Pulumi id, which is always a string.
func useStringID(res *tfbridge.ResourceInfo) {
	if res.Fields == nil {
		res.Fields = map[string]*tfbridge.SchemaInfo{}
	}
	res.Fields["id"] = &tfbridge.SchemaInfo{Type: "string"}
}

// explicitAliasIPs gives a server's inline networks an empty list of alias addresses where the program names none. Without
// it every preview shows a change of the networks; the official package does the same.
// See https://github.com/hetznercloud/terraform-provider-hcloud/issues/650.
func explicitAliasIPs(_ context.Context, inputs, _ resource.PropertyMap) (resource.PropertyMap, error) {
	networks := inputs["networks"]
	if !networks.IsArray() {
		return inputs, nil
	}
	for _, network := range networks.ArrayValue() {
		if !network.IsObject() {
			continue
		}
		if _, named := network.ObjectValue()["aliasIps"]; !named {
			network.ObjectValue()["aliasIps"] = resource.NewArrayProperty([]resource.PropertyValue{})
		}
	}
	return inputs, nil
}
