"""A program of nothing but the names of a cluster: the whole one needs nodes before it comes to them.

`before` in the configuration makes it what 48c7c4d registered.
"""

from __future__ import annotations

import json

import pulumi

from components.cluster import Cluster, kubernetes_provider
from components.dns import ClusterDns, ClusterDnsArgs
from components.foreign_keys import ForeignKeys
from components.kubernetes_object import KubernetesObject
from domain.corefile import CUSTOM_CONFIG_MAP
from domain.foreign_keys import NAMESPACE


class FirstDns(pulumi.ComponentResource):
    """ClusterDns as it was."""

    def __init__(self, zones: dict[str, str], opts: pulumi.ResourceOptions) -> None:
        super().__init__("isthmus:dns:ClusterDns", "dns", {}, opts)
        KubernetesObject(
            CUSTOM_CONFIG_MAP,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": CUSTOM_CONFIG_MAP, "namespace": NAMESPACE},
                "data": zones,
            },
            opts=pulumi.ResourceOptions(parent=self),
        )


def main() -> None:
    """Registers the names."""
    config = pulumi.Config()
    zones: dict[str, str] = json.loads(config.require("zones"))
    kubeconfig = pulumi.Output.secret(config.require("kubeconfig"))
    provider = kubernetes_provider("mn", Cluster(kubeconfig, "mn", []))
    opts = pulumi.ResourceOptions(providers={"kubernetes": provider})
    if config.get_bool("before"):
        FirstDns(zones, opts)
    else:
        ClusterDns("dns", ClusterDnsArgs(zones, ForeignKeys(kubeconfig, "mn"), after=[]), opts)


if __name__ == "__main__":
    main()
