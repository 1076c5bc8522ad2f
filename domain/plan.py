"""The address plan of one stack: its nodes with their addresses, the fixed service addresses, and the MTU chain.

It owns where everything lies. Every address follows from the stack's own file alone and from a fixed place in it, so
a node or a cluster that is added moves nothing that exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from domain.mtu import MtuChain
from domain.names import RELAY_SERVICE_OFFSET
from domain.nodes import Node
from domain.places.registry import StackSettings


@dataclass(frozen=True)
class AddressPlan:
    """Where everything of one cluster lies. ``nodes``: servers first, in the order of the file."""

    cluster: str
    nodes: tuple[Node, ...]
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    node_cidr: IPv4Network
    dns_zone: str
    cluster_dns: IPv4Address
    mtu: MtuChain

    @property
    def kubernetes_service(self) -> IPv4Address:
        """ClusterIP of the API: the first address of the service CIDR."""
        return self.service_cidr[1]

    @property
    def relay_service_ip(self) -> IPv4Address:
        """ClusterIP of the DNS relay, of the band that Kubernetes keeps for fixed addresses."""
        return self.service_cidr[RELAY_SERVICE_OFFSET]

    @property
    def servers(self) -> tuple[Node, ...]:
        """Nodes that run the API."""
        return tuple(node for node in self.nodes if node.role == "server")

    @property
    def agents(self) -> tuple[Node, ...]:
        """Nodes that run workloads only."""
        return tuple(node for node in self.nodes if node.role == "agent")

    @property
    def routers(self) -> tuple[Node, ...]:
        """Nodes that carry the link."""
        return tuple(node for node in self.nodes if node.router)

    @property
    def joins_by_list(self) -> bool:
        """Whether nodes join whichever server lives. With one server it is the cluster: agents know it, and it starts
        alone, with SQLite for its data instead of etcd.
        """
        return len(self.servers) > 1


def address_plan(settings: StackSettings) -> AddressPlan:
    """The plan of a stack whose settings have passed every check."""
    network = settings.network
    return AddressPlan(
        cluster=settings.stack,
        nodes=settings.place.nodes(settings, settings.section),
        pod_cidr=network.pod_cidr,
        service_cidr=network.service_cidr,
        node_cidr=network.node_cidr,
        dns_zone=network.dns_zone,
        cluster_dns=network.cluster_dns_address,
        mtu=MtuChain(netbird=settings.netbird.mtu, cilium=settings.cilium.mtu),
    )
