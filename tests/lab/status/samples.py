"""A healthy direction de → mn as facts and probes, to be broken by the tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any, get_args

from domain import overlay
from lab.status.facts import (
    ClusterFacts,
    EgressEntry,
    FirewallFacts,
    LinkFacts,
    NetBirdFacts,
    NodeFacts,
    PeerFacts,
    PolicyFacts,
    ResourceFacts,
    RouterFacts,
    RoutingFacts,
    RuleFacts,
)
from lab.status.results import NameProbe, Placement, Probe

DE_PODS, MN_PODS = IPv4Network("10.42.0.0/16"), IPv4Network("10.44.0.0/16")
DE_WT0, MN_WT0 = "100.77.0.1", "100.77.0.2"
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)


def router(node: str, node_ip: str, address: str, peer: str, networks: IPv4Network) -> RouterFacts:
    return RouterFacts(
        node=node,
        node_ip=node_ip,
        pod=f"networkrouter-{node}",
        machine_running=True,
        agent="running",
        agent_pid=4711,
        interface="up",
        programs=True,
        cilium="running",
        address=address,
        management=True,
        peers={peer: PeerFacts(connected=True, relayed=False, networks=(str(networks),))},
        rules=frozenset({0, 9, 105, 110, 32766, 32767}),
        routes=(networks,),
        forwarding=True,
        rp_filter=2,
        firewall=FirewallFacts(masquerade=True, forward=True, input=True),
        relay="running",
        relay_on_node=True,
        relay_on_wt0=True,
        open_ports=(),
    )


def cluster(name: str, pods: IPv4Network, peer: IPv4Network, own: RouterFacts, other: str) -> ClusterFacts:
    nodes = (
        NodeFacts(name=own.node, router=True, ready=True, machine_running=True, kubelet="running", kubelet_pid=12),
        NodeFacts(name=other, router=False, ready=True, machine_running=True, unit="k3s.service", kubelet="running"),
    )
    return ClusterFacts(
        name=name,
        pods=pods,
        dns_zone=f"{name}.internal",
        reachable=True,
        nodes=nodes,
        routers=(own,),
        policies=frozenset({str(peer)}),
        dns_pods=1,
        zones=frozenset({"de.internal", "mn.internal"}),
    )


def policy(wanted: overlay.Policy) -> PolicyFacts:
    rule = RuleFacts(
        enabled=True,
        accepts=True,
        protocol=wanted.protocol,
        ports=wanted.ports,
        bidirectional=wanted.bidirectional,
        sources=frozenset({wanted.source_group}),
        destinations=frozenset({wanted.destination_group}),
    )
    return PolicyFacts(name=wanted.name, enabled=True, rules=(rule,))


def resource(pods: IPv4Network, name: str) -> ResourceFacts:
    return ResourceFacts(
        address=str(pods),
        enabled=True,
        groups=frozenset({overlay.pods_group(name)}),
        routers=(RoutingFacts(enabled=True, masquerade=True, peers=1),),
    )


DE = cluster("de", DE_PODS, MN_PODS, router("de-agent-1", "10.0.1.31", DE_WT0, MN_WT0, MN_PODS), "de-server-1")
MN = cluster("mn", MN_PODS, DE_PODS, router("mn-2", "192.168.7.12", MN_WT0, DE_WT0, DE_PODS), "mn-1")
NETBIRD = NetBirdFacts(
    answers=True,
    policies={wanted.name: policy(wanted) for wanted in overlay.policies("de", "mn", cluster_ips=True)},
    resources=(resource(DE_PODS, "de"), resource(MN_PODS, "mn")),
)
HEALTH = LinkFacts(source=DE, target=MN, netbird=NETBIRD)

EGRESS = {
    "de-agent-1": (
        EgressEntry(source="10.42.1.5", destination=str(MN_PODS), egress_ip=DE_WT0, gateway_ip="10.0.1.31"),
    ),
    "de-server-1": (
        EgressEntry(source="10.42.1.5", destination=str(MN_PODS), egress_ip="0.0.0.0", gateway_ip="10.0.1.31"),
    ),
}
"""What the maps of de have in health."""

NODES = {
    ("de", "router"): "de-agent-1",
    ("de", "other"): "de-server-1",
    ("mn", "router"): "mn-2",
    ("mn", "other"): "mn-1",
}


def probes(*, lost_from: Iterable[Placement] = (), lost_to: Iterable[Placement] = ()) -> list[Probe]:
    """Every probe of de → mn; those from, and those to, the given places are lost."""
    return [
        Probe(
            source_node=NODES["de", source],
            source_placement=source,
            source_pod="kube-system/coredns",
            target_node=NODES["mn", target],
            target_placement=target,
            target_pod="kube-system/coredns",
            protocol="icmp",
            address="10.44.1.7",
            passed=not (lost := source in lost_from or target in lost_to),
            milliseconds=None if lost else 1.0,
            said="no reply to 5 requests in 2 s" if lost else "",
        )
        for source in PLACEMENTS
        for target in PLACEMENTS
    ]


def all_lost() -> list[Probe]:
    return probes(lost_from=PLACEMENTS)


def name_probe(*, passed: bool = True) -> NameProbe:
    return NameProbe(
        source_node="de-server-1",
        source_pod="kube-system/coredns",
        server="10.43.0.10",
        name="isthmus-status.mn.internal",
        passed=passed,
        milliseconds=1.0 if passed else None,
        said="" if passed else "SERVFAIL",
    )


# --- breaking it ------------------------------------------------------------------------------------------------------


def with_source(facts: LinkFacts, **changes: Any) -> LinkFacts:
    return replace(facts, source=replace(facts.source, **changes))


def with_target(facts: LinkFacts, **changes: Any) -> LinkFacts:
    return replace(facts, target=replace(facts.target, **changes))


def with_source_router(facts: LinkFacts, **changes: Any) -> LinkFacts:
    return with_source(facts, routers=(replace(facts.source.routers[0], **changes),))


def with_target_router(facts: LinkFacts, **changes: Any) -> LinkFacts:
    return with_target(facts, routers=(replace(facts.target.routers[0], **changes),))


def with_policy(facts: LinkFacts, name: str, changed: PolicyFacts | None) -> LinkFacts:
    policies = {key: kept for key, kept in facts.netbird.policies.items() if key != name}
    if changed is not None:
        policies[name] = changed
    return replace(facts, netbird=replace(facts.netbird, policies=policies))


def with_rule(facts: LinkFacts, name: str, **changes: Any) -> LinkFacts:
    found = facts.netbird.policies[name]
    return with_policy(facts, name, replace(found, rules=(replace(found.rules[0], **changes),)))


def with_resource(facts: LinkFacts, **changes: Any) -> LinkFacts:
    """The resource of mn's pods changed."""
    own, peer = facts.netbird.resources
    return replace(facts, netbird=replace(facts.netbird, resources=(own, replace(peer, **changes))))
