"""The Pulumi components of one cluster, one concern a file. What they render comes from ``domain``.

This is the face: what a program of your own composes, such as examples/parts. Everything else in this package may
change with any version.

A name is loaded when it is first used: the process of the dynamic resources, which starts in each preview, imports this
package for one module of it. That takes 0.3 s of a processor, and 0.7 s with all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from components.cilium import Cilium, CiliumArgs
    from components.cluster import Cluster, kubernetes_provider
    from components.dns import ClusterDns, ClusterDnsArgs
    from components.dns_relay import DnsRelay, DnsRelayArgs
    from components.egress_gateway import EgressGateway, EgressGatewayArgs
    from components.existing_cluster import NodeLabels, NodeLabelsArgs, existing_cluster
    from components.foreign_keys import ForeignKeys
    from components.guard import Guard, GuardArgs
    from components.helm_records import RecoverRelease
    from components.hetzner import HetznerMachines, HetznerMachinesArgs, HetznerServer
    from components.hetzner_leftovers import RemoveLeftovers, StackInstance
    from components.joined_cluster import JoinedCluster, JoinedClusterArgs
    from components.keeper import Keeper, KeeperArgs
    from components.netbird_operator import NetbirdOperator, NetbirdOperatorArgs
    from components.netbird_router import NetbirdRouter, NetbirdRouterArgs
    from components.on_premise import OnPremiseMachine, OnPremiseMachines, OnPremiseMachinesArgs
    from components.peer_link import PeerLink
    from components.secrets import Secrets
    from components.waiting import Waiting

__all__ = [
    "Cilium",
    "CiliumArgs",
    "Cluster",
    "ClusterDns",
    "ClusterDnsArgs",
    "DnsRelay",
    "DnsRelayArgs",
    "EgressGateway",
    "EgressGatewayArgs",
    "ForeignKeys",
    "Guard",
    "GuardArgs",
    "HetznerMachines",
    "HetznerMachinesArgs",
    "HetznerServer",
    "JoinedCluster",
    "JoinedClusterArgs",
    "Keeper",
    "KeeperArgs",
    "NetbirdOperator",
    "NetbirdOperatorArgs",
    "NetbirdRouter",
    "NetbirdRouterArgs",
    "NodeLabels",
    "NodeLabelsArgs",
    "OnPremiseMachine",
    "OnPremiseMachines",
    "OnPremiseMachinesArgs",
    "PeerLink",
    "RecoverRelease",
    "RemoveLeftovers",
    "Secrets",
    "StackInstance",
    "Waiting",
    "existing_cluster",
    "kubernetes_provider",
]

_HOMES: Final = {
    "cilium": ("Cilium", "CiliumArgs"),
    "cluster": ("Cluster", "kubernetes_provider"),
    "dns": ("ClusterDns", "ClusterDnsArgs"),
    "dns_relay": ("DnsRelay", "DnsRelayArgs"),
    "egress_gateway": ("EgressGateway", "EgressGatewayArgs"),
    "existing_cluster": ("NodeLabels", "NodeLabelsArgs", "existing_cluster"),
    "foreign_keys": ("ForeignKeys",),
    "guard": ("Guard", "GuardArgs"),
    "helm_records": ("RecoverRelease",),
    "hetzner": ("HetznerMachines", "HetznerMachinesArgs", "HetznerServer"),
    "hetzner_leftovers": ("RemoveLeftovers", "StackInstance"),
    "joined_cluster": ("JoinedCluster", "JoinedClusterArgs"),
    "keeper": ("Keeper", "KeeperArgs"),
    "netbird_operator": ("NetbirdOperator", "NetbirdOperatorArgs"),
    "netbird_router": ("NetbirdRouter", "NetbirdRouterArgs"),
    "on_premise": ("OnPremiseMachine", "OnPremiseMachines", "OnPremiseMachinesArgs"),
    "peer_link": ("PeerLink",),
    "secrets": ("Secrets",),
    "waiting": ("Waiting",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"components.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
