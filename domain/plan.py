"""The address plan of one stack: its nodes with their addresses, the fixed service addresses, and the MTU chain.

It owns where everything lies. Every address follows from the stack's own file alone and from a fixed place in it, so
a node or a cluster that is added moves nothing that exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final, Literal

from domain.mtu import MtuChain
from domain.names import RELAY_SERVICE_OFFSET, ROUTER_LABEL, ROUTER_LABEL_VALUE
from domain.settings import StackSettings

SERVER_OFFSET: Final = 11
"""The first Hetzner server of the control plane has this address in the node CIDR; .1 is Hetzner's gateway."""
AGENT_OFFSET: Final = 31
"""The first Hetzner worker has this address in the node CIDR."""


@dataclass(frozen=True)
class Node:
    """A machine as a node of the cluster. ``server_type`` only at Hetzner, ``host_key`` only for machines that
    exist, ``role`` None in an existing cluster.
    """

    name: str
    role: Literal["server", "agent"] | None
    router: bool
    address: IPv4Address
    server_type: str | None = None
    host_key: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the Node that are ours."""
        return {ROUTER_LABEL: ROUTER_LABEL_VALUE} if self.router else {}


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
    def first_server(self) -> Node:
        """The one that the others join, and whose kubeconfig is taken."""
        return self.servers[0]


def address_plan(settings: StackSettings) -> AddressPlan:
    """The plan of a stack whose settings have passed every check."""
    network = settings.network
    return AddressPlan(
        cluster=settings.stack,
        nodes=_nodes(settings),
        pod_cidr=network.pod_cidr,
        service_cidr=network.service_cidr,
        node_cidr=network.node_cidr,
        dns_zone=network.dns_zone,
        cluster_dns=network.cluster_dns_address,
        mtu=MtuChain(netbird=settings.netbird.mtu, cilium=settings.cilium.mtu),
    )


def _nodes(settings: StackSettings) -> tuple[Node, ...]:
    if settings.on_premise is not None:
        machines = sorted(settings.on_premise.machines, key=lambda machine: machine.role != "server")
        return tuple(
            Node(
                name=machine.name,
                role=machine.role,
                router=machine.router,
                address=machine.address,
                host_key=machine.host_key,
            )
            for machine in machines
        )
    hetzner = settings.hetzner
    if hetzner is None:
        raise ValueError(f"{settings.stack}: neither hetzner nor on_premise is set")
    node_cidr = settings.network.node_cidr
    nodes = [
        Node(
            name=f"{settings.stack}-server-{index + 1}",
            role="server",
            router=hetzner.workers.count == 0 and index == 0,
            address=node_cidr[SERVER_OFFSET + index],
            server_type=hetzner.control_plane.server_type,
        )
        for index in range(hetzner.control_plane.count)
    ]
    nodes += [
        Node(
            name=f"{settings.stack}-agent-{index + 1}",
            role="agent",
            router=index == 0,
            address=node_cidr[AGENT_OFFSET + index],
            server_type=hetzner.workers.server_type,
        )
        for index in range(hetzner.workers.count)
    ]
    return tuple(nodes)
