"""What `lab status` says: machines, helpers, clusters, links with their probes, and the causes of what is wrong.

Values only. Text, JSON and exit code are made of them; nothing here looks at anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Placement = Literal["router", "other"]
"""Where a pod runs: on a router's node, or on a node that is none."""
Path = Literal["direct", "relayed", "down", "unknown"]
"""How the source's router reaches the target's, by its agent's own word; unknown when the agent says nothing."""
Passed = Literal["up", "partly", "down", "unknown"]
"""What came of the probes: all passed, some, none; unknown when there was no pod to ask from or to."""
Kind = Literal["fault", "security", "remark"]
"""A fault stands in the way of packets or names, a security fault opens what must be shut though all packets may pass,
a remark is worth knowing and stands in the way of nothing."""


@dataclass(frozen=True, kw_only=True)
class MachineStatus:
    """A machine of the lab."""

    name: str
    running: bool


@dataclass(frozen=True, kw_only=True)
class HelperStatus:
    """A server of the lab: NetBird, the mirror, the Hetzner API stand-in."""

    name: str
    running: bool
    url: str


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """A node of a cluster."""

    name: str
    ready: bool
    address: str
    router: bool


@dataclass(frozen=True, kw_only=True)
class KeeperStatus:
    """What the keeper on a router's node says of itself."""

    ok: bool
    """The router is in order, by its own keeper."""
    reasons: tuple[str, ...]
    """Why it is not."""
    draining: bool
    out: Mapping[str, str | None]
    """By peer, the node that the cluster's pods are led to; None while nobody is named."""
    over: Mapping[str, Mapping[str, str]]
    """By peer and range, the peer's router that this one sends to."""
    mended: Mapping[str, int]
    """What it has put right on its node since it began, and how often."""


@dataclass(frozen=True, kw_only=True)
class RouterStatus:
    """A router: the node it is on, and its address in NetBird."""

    node: str
    node_ip: str
    netbird_ip: str
    connected: bool
    keeper: KeeperStatus | None = None
    """None where no keeper answers."""


@dataclass(frozen=True, kw_only=True)
class ClusterStatus:
    """A cluster."""

    name: str
    reachable: bool
    nodes: tuple[NodeStatus, ...]
    routers: tuple[RouterStatus, ...]
    dns_zone: str
    expected_nodes: int
    expected_routers: int = 1
    servers: Mapping[str, bool] = field(default_factory=dict)
    """Of several servers each one's address, and whether it takes a connection; empty where there is one."""

    @property
    def ready(self) -> bool:
        """All nodes and servers, and all routers connected."""
        return (
            self.reachable
            and all(self.servers.values())
            and len(self.nodes) >= self.expected_nodes
            and all(node.ready for node in self.nodes)
            and len(self.routers) >= self.expected_routers
            and all(router.connected for router in self.routers)
        )


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A packet there and back: from a pod's network in one cluster to a pod's address in another."""

    source_node: str
    source_placement: Placement
    source_pod: str
    target_node: str
    target_placement: Placement
    target_pod: str
    protocol: Literal["icmp", "tcp"]
    address: str
    passed: bool
    milliseconds: float | None
    said: str
    """What came instead of an answer; empty where one came."""


@dataclass(frozen=True, kw_only=True)
class NameProbe:
    """A question about the peer's zone, asked of the cluster's own DNS from a pod's network."""

    source_node: str
    source_pod: str
    server: str
    name: str
    passed: bool
    milliseconds: float | None
    said: str


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Something that is not as it should be, where, what was seen of it, and what mends it."""

    id: str
    """From :mod:`lab.status.causes`."""
    title: str
    where: str
    observed: str
    fix: str
    kind: Kind
    explains_packets: bool
    """Whether it explains packets that were lost."""
    explains_names: bool
    """Whether it explains names that were not answered."""

    @property
    def explains(self) -> bool:
        """Whether it explains anything that was lost."""
        return self.explains_packets or self.explains_names

    @property
    def sentence(self) -> str:
        """Cause, place and what was seen, in a line."""
        return f"{self.title} ({self.where}): {self.observed}"


@dataclass(frozen=True, kw_only=True)
class LinkStatus:
    """The way from one cluster's pods to another's, and back."""

    source: str
    target: str
    verdict: Passed
    names: Passed
    path: Path
    round_trip_ms: float | None
    policy: bool
    """Whether the source has an egress policy for the target's pod CIDR."""
    probes: tuple[Probe, ...]
    name_probes: tuple[NameProbe, ...]
    not_probed: tuple[str, ...]
    """Places without a pod to ask from or to, a sentence each."""
    causes: tuple[Cause, ...]
    """What explains lost probes comes first, the most probable at the head."""

    @property
    def carries(self) -> bool:
        """Whether packets and names pass."""
        return self.verdict == "up" and self.names == "up"


@dataclass(frozen=True, kw_only=True)
class Status:
    """The whole lab."""

    machines: tuple[MachineStatus, ...]
    helpers: tuple[HelperStatus, ...]
    clusters: tuple[ClusterStatus, ...]
    links: tuple[LinkStatus, ...]

    @property
    def causes(self) -> tuple[tuple[Cause, tuple[str, ...]], ...]:
        """Every cause once, with the links ("de → mn") in which it explains what was lost, or else in which it shows;
        what explains most comes first, then faults, security faults, remarks.
        """
        found: dict[tuple[str, str], list[tuple[Cause, str]]] = {}
        for link in self.links:
            for cause in link.causes:
                found.setdefault((cause.id, cause.where), []).append((cause, f"{link.source} → {link.target}"))
        told = []
        for shown in found.values():
            telling = [entry for entry in shown if entry[0].explains] or shown
            told.append((telling[0][0], tuple(way for _, way in telling)))
        order = {"fault": 0, "security": 1, "remark": 2}
        return tuple(sorted(told, key=lambda entry: (not entry[0].explains, order[entry[0].kind])))

    @property
    def is_up(self) -> bool:
        """Whether packets and names pass in every direction and nothing is open that must be shut.

        A remark does not count: a node whose kubelet is away while the link carries leaves the lab up.
        """
        return (
            all(machine.running for machine in self.machines)
            and all(helper.running for helper in self.helpers)
            and all(cluster.reachable for cluster in self.clusters)
            and all(link.carries for link in self.links)
            and all(cause.kind == "remark" for cause, _ in self.causes)
        )

    @property
    def is_whole(self) -> bool:
        """Whether it is up, every node is ready and every router connected: nothing is left to be done."""
        return self.is_up and all(cluster.ready for cluster in self.clusters)

    @property
    def in_health(self) -> bool:
        """Whether it is whole and there is nothing at all to be said of it."""
        return self.is_whole and not self.causes

    def link(self, source: str, target: str) -> LinkStatus:
        """The link between two clusters; KeyError when there is none."""
        for link in self.links:
            if (link.source, link.target) == (source, target):
                return link
        raise KeyError((source, target))

    def as_json(self) -> dict[str, Any]:
        """Plain data for JSON: ``up`` is what the exit code says."""
        return {"up": self.is_up, "whole": self.is_whole, **asdict(self)}


def unready(status: Status) -> Sequence[str]:
    """What is not as it should be, a sentence each; the causes are told apart from these."""
    said = [f"The machine {machine.name} does not run." for machine in status.machines if not machine.running]
    said += [
        f"The helper {helper.name} ({helper.url}) does not run." for helper in status.helpers if not helper.running
    ]
    for cluster in status.clusters:
        if not cluster.reachable:
            said.append(f"The API of {cluster.name} does not answer.")
            continue
        if silent := [address for address, answers in cluster.servers.items() if not answers]:
            answering = f"{len(cluster.servers) - len(silent)} of {len(cluster.servers)}"
            said.append(f"{answering} servers of {cluster.name} take a connection; not {', '.join(silent)}.")
        if len(cluster.nodes) < cluster.expected_nodes:
            said.append(f"{cluster.name} has {len(cluster.nodes)} of {cluster.expected_nodes} nodes.")
        said += [f"The node {node.name} of {cluster.name} is not ready." for node in cluster.nodes if not node.ready]
        connected = sum(router.connected for router in cluster.routers)
        if not connected:
            said.append(f"{cluster.name} has no router that is connected to NetBird.")
        elif connected < (wanted := max(cluster.expected_routers, len(cluster.routers))):
            said.append(f"{connected} of {wanted} routers of {cluster.name} are connected to NetBird.")
    for link in status.links:
        said += _lost(link)
    return said


def _lost(link: LinkStatus) -> Sequence[str]:
    way = f"from {link.source} to {link.target}"
    lost = [probe for probe in link.probes if not probe.passed]
    if link.verdict == "unknown":
        return [f"Nothing was sent {way}: {' '.join(link.not_probed) or 'there is no pod to ask from.'}"]
    if link.verdict == "down":
        return [f"No packet passes {way}."]
    said = []
    if link.verdict == "partly":
        places = sorted({f"{probe.source_node} to {probe.target_node} ({probe.protocol})" for probe in lost})
        said.append(f"{len(lost)} of {len(link.probes)} probes {way} are lost: {', '.join(places)}.")
    if link.names != "up":
        why = next((f": {probe.said}" for probe in link.name_probes if not probe.passed), "")
        said.append(f"Names of {link.target} are not answered in {link.source}{why}.")
    return said
