"""What was found out about clusters, routers and NetBird, as plain values: `collecting.py` makes them, `judging.py`
reads them. None stands for what could not be found out; it is no fault by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Literal

from lab.status.results import KeeperStatus

Process = Literal["running", "frozen", "absent"]
"""Frozen is stopped by a signal: it is there, and does nothing."""


@dataclass(frozen=True, kw_only=True)
class PeerFacts:
    """Another router as a router's agent sees it."""

    connected: bool
    relayed: bool
    networks: tuple[str, ...]
    """The ranges that the agent has chosen this peer for."""


@dataclass(frozen=True, kw_only=True)
class DropFacts:
    """A rule of somebody else that drops, or refuses, what comes from routers of peers."""

    rule: str
    """As nft writes it."""
    chain: str
    """Family, table and name."""
    forward: bool
    """It meets what is forwarded as well, or that alone: the packets of pods."""
    node: bool
    """It meets what the node itself gets or sends: questions and answers of the DNS relay."""


@dataclass(frozen=True, kw_only=True)
class FirewallFacts:
    """What NetBird keeps in a router's packet filter, and what others put in the way."""

    masquerade: bool
    forward: bool
    """It judges what is forwarded from wt0."""
    input: bool
    """It judges what the node itself gets from wt0."""
    others: tuple[DropFacts, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RouterFacts:
    """A router node, and what NetBird's agent has laid out there."""

    node: str
    node_ip: str
    pod: str
    """The agent's pod; empty without one."""
    machine_running: bool
    agent: Process | None = None
    agent_pid: int | None = None
    interface: Literal["up", "down", "absent"] | None = None
    programs: bool | None = None
    """Whether wt0 has Cilium's programs, at its ingress and its egress."""
    cilium: Process | None = None
    """Cilium's agent on the node."""
    address: str = ""
    """Of wt0, or what the agent says of itself."""
    management: bool | None = None
    """Whether the agent is connected with NetBird's management."""
    peers: Mapping[str, PeerFacts] | None = None
    """By NetBird address."""
    rules: frozenset[int] | None = None
    """Priorities of the ip rules."""
    routes: tuple[IPv4Network, ...] | None = None
    """What table 7120 leads to wt0."""
    forwarding: bool | None = None
    rp_filter: int | None = None
    """Of wt0, as it counts: the larger one of its own and that of all interfaces."""
    firewall: FirewallFacts | None = None
    relay: Process | None = None
    relay_on_node: bool | None = None
    """The DNS relay listens on the node's address, for the cluster's pods."""
    relay_on_wt0: bool | None = None
    """The DNS relay listens on wt0, for the peers."""
    keeper: KeeperStatus | None = None
    """What its keeper says; None where none answers."""
    open_ports: tuple[int, ...] | None = None
    """Ports of the node itself, of those that must be shut, that answered a peer's router over wt0."""


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """A node of a cluster and the machine under it."""

    name: str
    router: bool
    ready: bool | None
    machine_running: bool
    unit: str = "k3s-agent.service"
    kubelet: Process | None = None
    kubelet_pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class EgressEntry:
    """A line of a Cilium agent's egress map."""

    source: str
    destination: str
    egress_ip: str
    gateway_ip: str


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """A cluster."""

    name: str
    pods: IPv4Network
    dns_zone: str
    reachable: bool
    nodes: tuple[NodeFacts, ...] = ()
    routers: tuple[RouterFacts, ...] = ()
    policies: frozenset[str] | None = None
    """The destinations of the egress policies."""
    egress: Mapping[str, tuple[EgressEntry, ...]] | None = None
    """What the agents of the nodes have in their maps, by node; asked for only when a probe was lost."""
    dns_pods: int | None = None
    """How many pods of the cluster serve names, as they were found on the machines."""
    services: IPv4Network | None = None
    """The service CIDR."""
    dns_nodes: frozenset[str] = frozenset()
    """The nodes that these are on."""
    zones: frozenset[str] | None = None
    """The zones in `coredns-custom`."""


@dataclass(frozen=True, kw_only=True)
class RuleFacts:
    """A rule of a NetBird policy, groups by their names."""

    enabled: bool
    accepts: bool
    protocol: str
    ports: tuple[str, ...]
    bidirectional: bool
    sources: frozenset[str]
    destinations: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class PolicyFacts:
    """A NetBird policy."""

    name: str
    enabled: bool
    rules: tuple[RuleFacts, ...]


@dataclass(frozen=True, kw_only=True)
class ResourceFacts:
    """A network resource of NetBird, and the routing peers of its network."""

    address: str
    enabled: bool
    groups: frozenset[str]
    routers: tuple[RoutingFacts, ...]


@dataclass(frozen=True, kw_only=True)
class RoutingFacts:
    """An entry of a NetBird network's routing peers."""

    enabled: bool
    masquerade: bool
    peers: int
    """How many peers it stands for."""


@dataclass(frozen=True, kw_only=True)
class NetBirdFacts:
    """What NetBird's management knows."""

    answers: bool
    policies: Mapping[str, PolicyFacts] = field(default_factory=dict)
    """By name."""
    resources: tuple[ResourceFacts, ...] = ()


NameStep = Literal["own relay", "peer's relay"]


@dataclass(frozen=True, kw_only=True)
class LinkFacts:
    """Both ends of a direction, and what lies between them."""

    source: ClusterFacts
    target: ClusterFacts
    netbird: NetBirdFacts
    name_steps: Mapping[NameStep, bool] = field(default_factory=dict)
    """Where along the way a name was answered; asked for only when a name was not."""
    name_errors: Mapping[NameStep, str] = field(default_factory=dict)
    """What came instead of an answer."""

    @property
    def cluster_ips(self) -> bool:
        """Whether the link carries ClusterIPs, by the source's egress policies."""
        return self.target.services is not None and str(self.target.services) in (self.source.policies or ())
