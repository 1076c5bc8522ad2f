"""A cluster of the office with Cilium, the guard and the names of the office, and nothing else of Isthmus."""

from __future__ import annotations

import sys
from ipaddress import IPv4Network
from pathlib import Path

import pulumi
from pulumi_kubernetes.core.v1 import Service

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # Isthmus is a checkout, and no package

from components import (
    Cilium,
    CiliumArgs,
    Cluster,
    ClusterDns,
    ClusterDnsArgs,
    ForeignKeys,
    Guard,
    GuardArgs,
    RecoverRelease,
    Waiting,
    kubernetes_provider,
)

ZONE = "office.example"
BRANCH = IPv4Network("10.60.0.0/16")
"""What NetBird's tunnel leads to: packets for it leave by ``wt0``, or are refused."""


def main() -> None:
    """Registers it all."""
    config = pulumi.Config()
    kubeconfig = config.require_secret("kubeconfig")
    provider = kubernetes_provider("office", Cluster(kubeconfig, None, []))
    opts = pulumi.ResourceOptions(providers={"kubernetes": provider})

    network = Cilium(
        "network",
        CiliumArgs(
            version="1.19.6",
            values={"ipam": {"mode": "kubernetes"}},
            mirror=config.get("charts") or None,
            recover=RecoverRelease("isthmus-cilium", "kube-system", kubeconfig, None),
            waiting=Waiting("office", kubeconfig, None, active=True),
            after=[],
        ),
        opts,
    )
    Guard(
        "guard",
        GuardArgs(
            ranges=[BRANCH],
            pod_cidr=IPv4Network("10.52.0.0/16"),
            service_cidr=IPv4Network("10.53.0.0/16"),
            image="netbirdio/netbird:0.77.1",
            after=[network.ready],
        ),
        opts,
    )
    # Names of the office are asked there: the zone takes the address from it, and so is made after it.
    resolver = Service(
        "resolver",
        metadata={"name": "resolver", "namespace": "kube-system"},
        spec={
            "cluster_ip": "10.53.0.54",
            "selector": {"app": "resolver"},
            "ports": [{"port": 53, "protocol": "UDP"}],
        },
        opts=pulumi.ResourceOptions(provider=provider),
    )
    ClusterDns(
        "names",
        ClusterDnsArgs(
            zones={
                f"{ZONE}.server": resolver.spec.cluster_ip.apply(
                    lambda address: f"{ZONE}:53 {{\n    forward . {address}\n}}\n"
                )
            },
            others=ForeignKeys(kubeconfig, None),
            after=[network.ready],
        ),
        opts,
    )


if __name__ == "__main__":
    main()
