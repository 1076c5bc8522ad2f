"""What is up in the lab: machines, helpers, clusters with their nodes and routers, and the links between them.

Everything is looked up where it happens, at the API servers, in the routers' agents, on the machines; nothing is
remembered. It never changes anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from domain.names import ROUTER_LABEL, ROUTER_LABEL_VALUE
from lab import machines, netbird_server, processes, topology
from lab.errors import LabError
from lab.kubernetes import Cluster, internal_ip, is_ready
from lab.project import Tools
from lab.topology import Site, Topology

NETBIRD_NAMESPACE = "netbird"
ROUTER_CONTAINER = "netbird"
PINGS = 5

Path_ = Literal["direct", "relayed", "down"]


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
class RouterStatus:
    """A router: the node it is on, and its address in NetBird."""

    node: str
    node_ip: str
    netbird_ip: str
    connected: bool


@dataclass(frozen=True, kw_only=True)
class ClusterStatus:
    """A cluster."""

    name: str
    reachable: bool
    nodes: tuple[NodeStatus, ...]
    routers: tuple[RouterStatus, ...]
    dns_zone: str
    expected_nodes: int

    @property
    def ready(self) -> bool:
        """All nodes and one router at least."""
        return (
            self.reachable
            and len(self.nodes) >= self.expected_nodes
            and all(node.ready for node in self.nodes)
            and any(router.connected for router in self.routers)
        )


@dataclass(frozen=True, kw_only=True)
class LinkStatus:
    """The way from one cluster's router to another's."""

    source: str
    target: str
    path: Path_
    round_trip_ms: float | None
    policy: bool
    """Whether the source has an egress policy for the target's pod CIDR."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The whole lab."""

    machines: tuple[MachineStatus, ...]
    helpers: tuple[HelperStatus, ...]
    clusters: tuple[ClusterStatus, ...]
    links: tuple[LinkStatus, ...]

    @property
    def is_up(self) -> bool:
        """Whether all of it is as it should be."""
        return (
            all(machine.running for machine in self.machines)
            and all(helper.running for helper in self.helpers)
            and all(cluster.ready for cluster in self.clusters)
            and all(link.path != "down" and link.policy for link in self.links)
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"up": self.is_up, **asdict(self)}


def collect(lab: Topology, tools: Tools) -> Status:
    """Looks at everything, the clusters at the same time."""
    with ThreadPoolExecutor(max_workers=max(2, len(lab.sites))) as pool:
        looked = list(pool.map(lambda site: _cluster(site, tools), lab.sites))
    clusters = {site.name: status for site, (status, _) in zip(lab.sites, looked, strict=True)}
    agents = {site.name: agent for site, (_, agent) in zip(lab.sites, looked, strict=True)}
    links = []
    for source, target in lab.directions():
        links.append(_link(source, target, clusters, agents[source.name], tools))
    return Status(
        machines=tuple(
            MachineStatus(name=name, running=machines.running(name)) for name in sorted(machines.list_machines())
        ),
        helpers=helpers(),
        clusters=tuple(clusters.values()),
        links=tuple(links),
    )


def helpers() -> tuple[HelperStatus, ...]:
    """The lab's servers."""
    urls = {
        netbird_server.NAME: topology.NETBIRD_URL,
        "mirror": topology.MIRROR_URL,
        "hetzner-api": topology.HETZNER_ENDPOINT,
    }
    return tuple(HelperStatus(name=name, running=processes.running(name), url=url) for name, url in urls.items())


def _cluster(site: Site, tools: Tools) -> tuple[ClusterStatus, Mapping[str, Any]]:
    """A cluster's status, and what its router's agent says of itself (empty without one)."""
    cluster = Cluster(name=site.name, tools=tools)
    nodes: list[dict[str, Any]] = []
    agent: Mapping[str, Any] = {}
    router_pods: list[dict[str, Any]] = []
    reachable = cluster.reachable()
    if reachable:
        nodes = cluster.get("nodes")
        router_pods = [
            pod for pod in cluster.get("pods", namespace=NETBIRD_NAMESPACE) if _is_router(pod) and is_ready(pod)
        ]
        if router_pods:
            agent = agent_status(cluster, router_pods[0])
    addresses = {node["metadata"]["name"]: internal_ip(node) for node in nodes}
    routers = tuple(
        RouterStatus(
            node=pod["spec"]["nodeName"],
            node_ip=addresses.get(pod["spec"]["nodeName"], ""),
            netbird_ip=str(agent.get("netbirdIp", "")).partition("/")[0],
            connected=bool(agent.get("management", {}).get("connected")),
        )
        for pod in router_pods[:1]
    )
    status = ClusterStatus(
        name=site.name,
        reachable=reachable,
        nodes=tuple(
            NodeStatus(
                name=node["metadata"]["name"],
                ready=is_ready(node),
                address=internal_ip(node),
                router=node["metadata"].get("labels", {}).get(ROUTER_LABEL) == ROUTER_LABEL_VALUE,
            )
            for node in nodes
        ),
        routers=routers,
        dns_zone=site.ranges.dns_zone,
        expected_nodes=site.node_count,
    )
    return status, agent


def _is_router(pod: Mapping[str, Any]) -> bool:
    return any(one["name"] == ROUTER_CONTAINER for one in pod["spec"]["containers"]) and bool(
        pod["spec"].get("hostNetwork")
    )


def router_pods(cluster: Cluster) -> list[dict[str, Any]]:
    """The pods of the cluster's NetBird router, ready or not."""
    return [pod for pod in cluster.get("pods", namespace=NETBIRD_NAMESPACE) if _is_router(pod)]


def agent_status(cluster: Cluster, pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """`netbird status --json` of a router's pod; empty when the agent does not answer."""
    try:
        text = cluster.execute(
            NETBIRD_NAMESPACE, pod["metadata"]["name"], ROUTER_CONTAINER, ["netbird", "status", "--json"]
        )
        found: Mapping[str, Any] = json.loads(text)
        return found
    except (LabError, ValueError):
        return {}


def _link(
    source: Site, target: Site, clusters: Mapping[str, ClusterStatus], agent: Mapping[str, Any], tools: Tools
) -> LinkStatus:
    routers = clusters[target.name].routers
    path: Path_ = "down"
    if routers:
        path = peer_path(agent, routers[0].netbird_ip)
    policy = round_trip = None
    if clusters[source.name].reachable:
        policy = _has_policy(Cluster(name=source.name, tools=tools), str(target.ranges.pods))
    if path != "down" and clusters[target.name].reachable and clusters[source.name].routers:
        address = _any_pod_address(Cluster(name=target.name, tools=tools))
        if address:
            round_trip = ping_from_machine(clusters[source.name].routers[0].node, address)
    return LinkStatus(source=source.name, target=target.name, path=path, round_trip_ms=round_trip, policy=bool(policy))


def peer_path(agent: Mapping[str, Any], address: str) -> Path_:
    """How an agent reaches the peer with that address, from its own status."""
    for peer in agent.get("peers", {}).get("details") or []:
        if str(peer.get("netbirdIp", "")).partition("/")[0] == address:
            if str(peer.get("status", "")).lower() != "connected":
                return "down"
            return "direct" if str(peer.get("connectionType", "")).upper() == "P2P" else "relayed"
    return "down"


def _has_policy(cluster: Cluster, pod_cidr: str) -> bool:
    policies = cluster.kubectl("get", "ciliumegressgatewaypolicies", "--output=json", check=False)
    if policies.returncode != 0:
        return False
    items = json.loads(policies.stdout)["items"]
    return any(pod_cidr in item["spec"].get("destinationCIDRs", []) for item in items)


def _any_pod_address(cluster: Cluster) -> str:
    """The address of a pod that every cluster has: its DNS server's."""
    pods = cluster.get("pods", namespace="kube-system", selector="k8s-app=kube-dns")
    return next((str(pod["status"].get("podIP", "")) for pod in pods if is_ready(pod)), "")


def ping_from_machine(machine: str, address: str) -> float | None:
    """The average round trip in milliseconds from a machine of the lab; None when nothing comes back."""
    try:
        done = machines.exec(machine, ["ping", "-n", "-q", "-c", str(PINGS), "-i", "0.2", "-W", "2", address])
    except LabError:
        return None
    return parse_ping_average(str(done.stdout))


def parse_ping_average(text: str) -> float | None:
    """The average of ``rtt min/avg/max/mdev = 0.1/0.2/0.3/0.0 ms``."""
    match = re.search(r"= [0-9.]+/([0-9.]+)/", text)
    return float(match[1]) if match else None


def unready(status: Status) -> Sequence[str]:
    """What is not as it should be, a sentence each."""
    said = [f"The machine {machine.name} does not run." for machine in status.machines if not machine.running]
    said += [
        f"The helper {helper.name} ({helper.url}) does not run." for helper in status.helpers if not helper.running
    ]
    for cluster in status.clusters:
        if not cluster.reachable:
            said.append(f"The API of {cluster.name} does not answer.")
            continue
        if len(cluster.nodes) < cluster.expected_nodes:
            said.append(f"{cluster.name} has {len(cluster.nodes)} of {cluster.expected_nodes} nodes.")
        said += [f"The node {node.name} of {cluster.name} is not ready." for node in cluster.nodes if not node.ready]
        if not any(router.connected for router in cluster.routers):
            said.append(f"{cluster.name} has no router that is connected to NetBird.")
    for link in status.links:
        if link.path == "down":
            said.append(f"The link from {link.source} to {link.target} is down.")
        elif not link.policy:
            said.append(f"{link.source} has no egress policy for the pods of {link.target}.")
    return said
