"""The checks: which there are for a topology, and for each what it asks and who judges the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lab.netbird_api import NetBirdApi
from lab.topology import Topology
from lab.verify import judging, throughput
from lab.verify.cluster_ips import service_checks
from lab.verify.results import Verdict
from lab.verify.sessions import Session
from lab.verify.workload import PLACEMENTS, PORT, Placement, ProbePod, Probes, egress_maps, pod_name

PINGS: Final = 3
DEADLINE_SECONDS: Final = 5
"""For one probe. A link that works answers in milliseconds."""

About = Literal["packets", "names", "services", "sizes", "egress policy", "own zone", "throughput"]
"""What a check asks about; it says which causes can be its own."""

_DNS_FIX: Final = (
    "kubectl --context {source} -n kube-system get configmap coredns-custom -o yaml ; kubectl --context {source} -n "
    "kube-system logs ds/isthmus-dns-relay ; kubectl --context {target} -n kube-system logs ds/isthmus-dns-relay"
)
_NODE: Final = {"router": "router node", "other": "other node"}


@dataclass(frozen=True, kw_only=True)
class World:
    """What checks work with: probe pods and open sessions by cluster, the planned packet sizes, NetBird's API."""

    lab: Topology
    probes: Mapping[str, Probes]
    sessions: Mapping[tuple[str, Placement], Session]
    pod_mtu: Mapping[str, int]
    """Bytes of the largest IP packet a pod of that cluster may send through the link."""
    api: NetBirdApi
    cluster_ips: Mapping[str, bool]
    """Whether a cluster's settings let ClusterIPs across."""

    def carries_cluster_ips(self, source: str, target: str) -> bool:
        """Whether ClusterIPs of the target are reached from the source."""
        return self.cluster_ips[source] and self.cluster_ips[target]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check: a name for machines, one for people, and the function that makes it."""

    id: str
    title: str
    run: Callable[[World], Verdict]
    alone: bool = False
    """It measures, and bears no other check beside it."""
    ends: tuple[str, ...] = ()
    """The cluster that it is about, or source and target."""
    about: About = "packets"


def all_checks(lab: Topology) -> list[Check]:
    """Every check of the topology, in the order in which they are told: those that measure come last."""
    checks: list[Check] = []
    for site in lab.sites:
        checks.append(_egress_check(site.name))
        checks.append(_own_zone_check(site.name))
    for source, target in lab.directions():
        for from_placement in PLACEMENTS:
            for to_placement in PLACEMENTS:
                checks += _pair_checks(source.name, from_placement, target.name, to_placement)
            checks.append(_service_check(source.name, from_placement, target.name))
            checks += _cluster_ip_checks(source.name, from_placement, target.name)
    for source, target in lab.directions():
        checks.append(_throughput_check(source.name, target.name))
    return checks


def _pair_checks(source: str, from_placement: Placement, target: str, to_placement: Placement) -> Iterator[Check]:
    prefix = f"{source}-{target}.{from_placement}-{to_placement}"
    way = f"{source} ({_NODE[from_placement]}) to {target} ({_NODE[to_placement]})"

    def ask(world: World) -> tuple[Session, ProbePod]:
        return world.sessions[source, from_placement], world.probes[target].pod(to_placement)

    def icmp(world: World) -> Verdict:
        session, pod = ask(world)
        answer = session.ask("ping", address=pod.address, count=PINGS, seconds=DEADLINE_SECONDS)
        return judging.judge_ping(answer, address=pod.address, count=PINGS, source=source)

    def tcp(world: World) -> Verdict:
        session, pod = ask(world)
        answer = session.ask("tcp", address=pod.address, port=PORT, seconds=DEADLINE_SECONDS)
        return judging.judge_tcp(answer, address=pod.address, port=PORT, source=source)

    def http(world: World) -> Verdict:
        session, pod = ask(world)
        answer = session.ask("http", host=pod.address, port=PORT, path="/hostname", seconds=DEADLINE_SECONDS)
        return judging.judge_http(answer, host=f"{pod.address}:{PORT}", pods=[pod.name], source=source)

    def by_pod_name(world: World) -> Verdict:
        session, pod = ask(world)
        host = world.probes[target].pod_host(pod)
        answer = session.ask("http", host=host, port=PORT, path="/hostname", seconds=DEADLINE_SECONDS)
        fix = _DNS_FIX.format(source=source, target=target)
        return judging.judge_http(answer, host=host, pods=[pod.name], source=source, fix=fix)

    def mtu(world: World) -> Verdict:
        session, pod = ask(world)
        planned = min(world.pod_mtu[source], world.pod_mtu[target])
        fitting, larger = (
            session.ask(
                "ping",
                address=pod.address,
                count=PINGS,
                seconds=DEADLINE_SECONDS if length == planned else 2,
                size=length - judging.IP_ICMP_HEADERS,
                df=True,
            )
            for length in (planned, planned + 1)
        )
        return judging.judge_mtu(fitting, larger, planned=planned, count=PINGS)

    kinds: tuple[tuple[str, About, str, Callable[[World], Verdict]], ...] = (
        ("icmp", "packets", "ICMP echo by pod IP", icmp),
        ("tcp", "packets", "TCP by pod IP", tcp),
        ("http", "packets", "HTTP by pod IP", http),
        ("pod-name", "names", "HTTP by the pod's name", by_pod_name),
        ("mtu", "sizes", "the largest planned packet, and one byte more", mtu),
    )
    for kind, about, title, run in kinds:
        yield Check(id=f"{prefix}.{kind}", title=f"{way}: {title}", run=run, ends=(source, target), about=about)


def _service_check(source: str, placement: Placement, target: str) -> Check:
    def run(world: World) -> Verdict:
        host = world.probes[target].service_name
        session = world.sessions[source, placement]
        answer = session.ask("http", host=host, port=PORT, path="/hostname", seconds=DEADLINE_SECONDS)
        pods = [pod_name(place) for place in PLACEMENTS]
        fix = _DNS_FIX.format(source=source, target=target)
        return judging.judge_http(answer, host=host, pods=pods, source=source, fix=fix)

    title = f"{source} ({_NODE[placement]}) to {target}: HTTP by the name of a headless service"
    return Check(
        id=f"{source}-{target}.{placement}.service-name", title=title, run=run, ends=(source, target), about="names"
    )


def _cluster_ip_checks(source: str, placement: Placement, target: str) -> Iterator[Check]:
    def ask(world: World) -> tuple[Session, Probes, bool]:
        return world.sessions[source, placement], world.probes[target], world.carries_cluster_ips(source, target)

    fix = _DNS_FIX.format(source=source, target=target)
    for name, title, run in service_checks(source, placement, target, ask, fix):
        about: About = "names" if name.endswith("-name") else "services"
        yield Check(id=f"{source}-{target}.{name}", title=title, run=run, ends=(source, target), about=about)


def _own_zone_check(site: str) -> Check:
    def run(world: World) -> Verdict:
        probes = world.probes[site]
        answer = world.sessions[site, "other"].ask("resolve", name=probes.service_name, seconds=DEADLINE_SECONDS)
        return judging.judge_resolution(
            answer,
            name=probes.service_name,
            addresses=[pod.address for pod in probes.pods],
            fix=f"kubectl --context {site} -n kube-system get configmap coredns-custom -o yaml (does it have {site}'s "
            "own zone?)",
        )

    title = f"{site}: its own zone from inside"
    return Check(id=f"{site}.own-zone", title=title, run=run, ends=(site,), about="own zone")


def _egress_check(site: str) -> Check:
    def run(world: World) -> Verdict:
        probes = world.probes[site]
        peers = []
        for peer in world.lab.peers(probes.site):
            ranges = world.lab.site(peer).ranges
            peers += [ranges.pods, *([ranges.services] if world.carries_cluster_ips(site, peer) else [])]
        policies = probes.cluster.get("ciliumegressgatewaypolicies")
        return judging.judge_egress(
            policies,
            egress_maps(probes.cluster),
            peers=peers,
            router_node=probes.router.node,
            router_address=probes.router.netbird_ip,
        )

    title = f"{site}: the egress policy leads to the peers' pods and services and covers no NetBird address"
    return Check(id=f"{site}.egress-policy", title=title, run=run, ends=(site,), about="egress policy")


def _throughput_check(source: str, target: str) -> Check:
    def run(world: World) -> Verdict:
        sessions = (world.sessions[source, "router"], world.sessions[target, "router"])
        ends = world.probes[source], world.probes[target]
        relayed = throughput.is_relayed(*ends)

        def judge(measured: throughput.Throughput) -> Verdict:
            return judging.judge_throughput(measured.pod, measured.tunnel, errors=measured.errors, relayed=relayed)

        first = throughput.measure(*ends, sessions, world.api)
        if (verdict := judge(first)).status == "pass":
            return verdict
        if not judging.more_runs_may_pass(first.pod, first.tunnel, errors=first.errors):
            return verdict
        # All machines share a few cores, and what else they do hits some runs more than others: twice as many decide.
        return judge(first.with_more(throughput.measure(*ends, sessions, world.api)))

    title = f"{source} to {target}: TCP throughput pod to pod over that of the bare tunnel"
    return Check(
        id=f"{source}-{target}.throughput", title=title, run=run, alone=True, ends=(source, target), about="throughput"
    )
