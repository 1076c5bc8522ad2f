"""Every cause that can be named: which facts lead to it, what it explains, and that health has none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from domain.router_rollout import ROUTER_POD_LABEL
from lab.status import finding
from lab.status.causes import CATALOGUE
from lab.status.facts import DropFacts, FirewallFacts, LinkFacts, PeerFacts, RouterFacts, RoutingFacts
from lab.status.finding import parameters_of
from lab.status.judging import judge, verdict_of
from lab.status.results import KeeperStatus, NameProbe, Probe
from tests.lab.status.samples import (
    DE_WT0,
    EGRESS,
    HEALTH,
    MN_PODS,
    MN_WT0,
    NETBIRD,
    all_lost,
    name_probe,
    probes,
    with_policy,
    with_resource,
    with_rule,
    with_source,
    with_source_router,
    with_target,
    with_target_router,
)

PODS = "isthmus-de-to-mn-pods"
UNCONNECTED = {MN_WT0: PeerFacts(connected=False, relayed=False, networks=())}
NO_FILTER = FirewallFacts(masquerade=False, forward=False, input=False)
DROP = DropFacts(
    rule='iifname != "tailscale0" ip saddr 100.64.0.0/10 counter packets 12 bytes 720 drop',
    chain="ip filter ts-input",
    forward=False,
    node=True,
)
TAILSCALES = FirewallFacts(masquerade=True, forward=True, input=True, others=(DROP,))


def node_away(facts: LinkFacts, *, which: int, **changes: object) -> LinkFacts:
    nodes = list(facts.target.nodes)
    nodes[which] = replace(nodes[which], **changes)  # type: ignore[arg-type]
    return with_target(facts, nodes=tuple(nodes))


def machine_off(facts: LinkFacts) -> LinkFacts:
    return with_target_router(node_away(facts, which=0, machine_running=False), machine_running=False)


def egress(facts: LinkFacts, **changes: str) -> LinkFacts:
    entries = {node: tuple(replace(line, **changes) for line in lines) for node, lines in EGRESS.items()}
    return with_source(facts, egress=entries)


PACKETS: list[tuple[str, LinkFacts, Sequence[Probe], str]] = [
    ("machine-off", machine_off(HEALTH), all_lost(), "the machine does not run"),
    ("router-missing", with_source(HEALTH, routers=()), all_lost(), "no node with the label isthmus.dev/router=true"),
    (
        "router-missing",
        with_target_router(HEALTH, agent="absent", pod="", interface="absent"),
        all_lost(),
        "no router pod on this node, no agent",
    ),
    (
        "agent-frozen",
        with_target_router(HEALTH, agent="frozen", peers=None, management=None),
        all_lost(),
        "NetBird's agent (process 4711) is stopped by a signal",
    ),
    (
        "agent-stopped",
        with_source_router(HEALTH, agent="absent", agent_pid=None, interface="absent", peers=None, routes=()),
        all_lost(),
        "the pod networkrouter-de-agent-1 has no process `netbird`",
    ),
    ("interface-away", with_source_router(HEALTH, interface="down", routes=()), all_lost(), "wt0 is down"),
    ("interface-away", with_target_router(HEALTH, interface="absent"), all_lost(), "wt0 is not there"),
    ("policy-missing", with_policy(HEALTH, PODS, None), all_lost(), "there is no policy of this name"),
    (
        "policy-disabled",
        with_source_router(with_policy(HEALTH, PODS, replace(NETBIRD.policies[PODS], enabled=False)), routes=()),
        all_lost(),
        "the policy is disabled",
    ),
    ("policy-disabled", with_rule(HEALTH, PODS, enabled=False), all_lost(), "its rule is disabled"),
    (
        "policy-changed",
        with_rule(HEALTH, PODS, protocol="icmp"),
        probes(lost_to=["router"]),
        "no rule of it accepts everything from isthmus-de-routers to isthmus-mn-pods",
    ),
    ("policy-changed", with_rule(HEALTH, PODS, sources=frozenset()), all_lost(), "no rule of it accepts everything"),
    (
        "resource-missing",
        replace(HEALTH, netbird=replace(NETBIRD, resources=NETBIRD.resources[:1])),
        all_lost(),
        "no network has a resource 10.44.0.0/16",
    ),
    (
        "resource-missing",
        with_resource(HEALTH, groups=frozenset({"All"})),
        all_lost(),
        "the resource 10.44.0.0/16 is not in the group isthmus-mn-pods, its groups: All",
    ),
    ("resource-disabled", with_resource(HEALTH, enabled=False), all_lost(), "the resource 10.44.0.0/16 is disabled"),
    ("routing-peer-missing", with_resource(HEALTH, routers=()), all_lost(), "has no routing peer that is enabled"),
    (
        "routing-peer-missing",
        with_resource(HEALTH, routers=(RoutingFacts(enabled=True, masquerade=True, peers=0),)),
        all_lost(),
        "has no routing peer that is enabled and stands for a router",
    ),
    (
        "agent-disconnected",
        with_source_router(HEALTH, management=False, peers=UNCONNECTED),
        all_lost(),
        "the agent says that it is not connected to NetBird's management",
    ),
    (
        "tunnel-down",
        with_source_router(HEALTH, peers=UNCONNECTED),
        all_lost(),
        f"its agent is not connected to {MN_WT0}",
    ),
    ("tunnel-down", with_source_router(HEALTH, peers={}), all_lost(), f"its agent does not know {MN_WT0}"),
    (
        "rules-missing",
        with_source_router(HEALTH, rules=frozenset({0, 32766, 32767})),
        all_lost(),
        "no ip rule with priority 105 and none with 110",
    ),
    (
        "route-missing",
        with_source_router(HEALTH, routes=()),
        all_lost(),
        "table 7120 has no route to 10.44.0.0/16 by wt0",
    ),
    (
        "programs-missing",
        with_source_router(HEALTH, programs=False, cilium="frozen"),
        all_lost(),
        "wt0 has none of Cilium's programs, or only some; Cilium's agent is stopped by a signal",
    ),
    ("forwarding-off", with_source_router(HEALTH, forwarding=False), all_lost(), "net.ipv4.ip_forward is 0"),
    ("forwarding-off", with_target_router(HEALTH, forwarding=False), all_lost(), "net.ipv4.ip_forward is 0"),
    ("reverse-path-filter", with_target_router(HEALTH, rp_filter=1), all_lost(), "rp_filter of wt0 is 1"),
    (
        "masquerade-missing",
        with_target_router(HEALTH, firewall=NO_FILTER),
        probes(lost_to=["other"]),
        "the packet filter has no masquerade of NetBird",
    ),
    (
        "masquerade-off",
        with_resource(HEALTH, routers=(RoutingFacts(enabled=True, masquerade=False, peers=1),)),
        probes(lost_to=["other"]),
        "its routing peers don't masquerade",
    ),
    (
        "egress-policy-missing",
        with_source(HEALTH, policies=frozenset()),
        probes(lost_from=["other"]),
        "no CiliumEgressGatewayPolicy leads to 10.44.0.0/16; there are: none",
    ),
    (
        "egress-gateway-missing",
        egress(HEALTH, gateway_ip="Not Found"),
        all_lost(),
        "Cilium's egress map leads to Not Found, which is no router's address",
    ),
    ("egress-address-stale", egress(HEALTH, egress_ip="0.0.0.0"), all_lost(), f"sends from 0.0.0.0, wt0 has {DE_WT0}"),
    (
        "egress-entries-missing",
        with_source(HEALTH, egress={**EGRESS, "de-server-1": ()}),
        probes(lost_from=["other"]),
        "Cilium's egress map has nothing for 10.44.0.0/16",
    ),
    (
        "peers-dropped",
        with_target_router(HEALTH, firewall=replace(TAILSCALES, others=(replace(DROP, forward=True, node=False),))),
        all_lost(),
        f"ts-input drops packets of pods that come by wt0 from the router of de or go there ({DE_WT0})",
    ),
    (
        "unexplained",
        HEALTH,
        probes(lost_to=["router"]),
        "2 of the probes are lost, the first from de-agent-1 to 10.44.1.7",
    ),
]

NAMES: list[tuple[str, LinkFacts, str]] = [
    ("relay-away", with_source_router(HEALTH, relay="absent", relay_on_node=None), "nothing listens on port 1053"),
    ("relay-away", with_source_router(HEALTH, relay_on_node=False), "does not listen on the node's address 10.0.1.31"),
    ("relay-frozen", with_target_router(HEALTH, relay="frozen"), "the relay's process is stopped by a signal"),
    ("relay-not-on-wt0", with_target_router(HEALTH, relay_on_wt0=False), f"does not listen on wt0 ({MN_WT0})"),
    ("cluster-dns-away", with_target(HEALTH, dns_pods=0), "no pod of the cluster's DNS serves names"),
    ("zone-missing", with_source(HEALTH, zones=frozenset({"de.internal"})), "mn.internal is not among the zones"),
    ("policy-disabled", with_rule(HEALTH, "isthmus-de-to-mn-dns-udp", enabled=False), "its rule is disabled"),
    (
        "peers-dropped",
        with_target_router(HEALTH, firewall=TAILSCALES),
        f"`{DROP.rule}` in the chain ip filter ts-input drops questions and answers of the DNS relays (port 1053) ",
    ),
    (
        "peers-dropped",
        with_source_router(HEALTH, firewall=TAILSCALES),
        f"(port 1053) that come by wt0 from the router of mn or go there ({MN_WT0})",
    ),
    (
        "relay-unreached",
        replace(HEALTH, name_steps={"own relay": False, "peer's relay": False}),
        f"the relay of mn at {MN_WT0}:1053, asked over UDP by wt0 for ",
    ),
    (
        "relay-unreached",
        replace(
            HEALTH,
            name_steps={"own relay": False, "peer's relay": False},
            name_errors={"own relay": "SERVFAIL", "peer's relay": "no answer in 2 s"},
        ),
        ": no answer in 2 s",
    ),
    (
        "names-unexplained",
        replace(HEALTH, name_steps={"own relay": False, "peer's relay": True}),
        "SERVFAIL; the peer's relay answers; the own relay does not",
    ),
]

OPEN: list[tuple[str, LinkFacts, str]] = [
    (
        "guard-missing",
        with_source_router(HEALTH, firewall=FirewallFacts(masquerade=True, forward=False, input=False)),
        "no chain of NetBird judges what is forwarded from wt0 or what the node gets from wt0",
    ),
    (
        "guard-missing",
        with_target_router(HEALTH, firewall=FirewallFacts(masquerade=True, forward=True, input=False)),
        "no chain of NetBird judges what the node gets from wt0",
    ),
    ("ports-open", with_target_router(HEALTH, open_ports=(22, 10250)), "answered a peer's router over wt0: 22, 10250"),
    (
        "policy-widened",
        with_rule(HEALTH, PODS, sources=frozenset({"isthmus-de-routers", "All"}), bidirectional=True),
        "also lets in All; also lets the other direction through",
    ),
    (
        "policy-widened",
        with_rule(HEALTH, PODS, destinations=frozenset({"isthmus-mn-pods", "isthmus-mn-routers"})),
        "also leads to isthmus-mn-routers",
    ),
    (
        "policy-widened",
        with_rule(HEALTH, "isthmus-de-to-mn-dns-udp", protocol="all", ports=()),
        "accepts all instead of udp; accepts every port",
    ),
    (
        "policy-widened",
        with_rule(HEALTH, "isthmus-de-to-mn-dns-tcp", ports=("1053", "22")),
        "also accepts the ports 22",
    ),
]

AWAY_WITH_NAMES = replace(HEALTH.source.nodes[0], kubelet="absent", ready=False)
SILENT: list[tuple[LinkFacts, str]] = [
    (
        with_source(HEALTH, nodes=(AWAY_WITH_NAMES, HEALTH.source.nodes[1]), dns_nodes=frozenset({"de-server-1"})),
        "not ready; all DNS relays run there and count as not ready",
    ),
    (
        with_source(HEALTH, nodes=(AWAY_WITH_NAMES, HEALTH.source.nodes[1]), dns_nodes=frozenset({"de-agent-1"})),
        "not ready; all pods of the cluster's DNS and all DNS relays run there and count as not ready",
    ),
    (
        with_target(
            node_away(HEALTH, which=1, kubelet="running", ready=False),
            dns_nodes=frozenset({"mn-1"}),
        ),
        "the node is not ready; all pods of the cluster's DNS run there and count as not ready",
    ),
]

REMARKS: list[tuple[str, LinkFacts, str]] = [
    (
        "kubelet-away",
        node_away(HEALTH, which=0, kubelet="absent", ready=False),
        "the kubelet does not run; the API says of the node: not ready",
    ),
    (
        "kubelet-frozen",
        node_away(HEALTH, which=0, kubelet="frozen", ready=True),
        "the kubelet is stopped by a signal; the API says of the node: ready",
    ),
    ("node-not-ready", node_away(HEALTH, which=1, ready=False), "the kubelet runs; the node is not ready"),
    ("management-away", replace(HEALTH, netbird=replace(NETBIRD, answers=False)), "its API does not answer"),
]


def said(facts: LinkFacts, sent: Sequence[Probe], names: Sequence[NameProbe] = ()) -> list[str]:
    return [cause.id for cause in judge(facts, sent, names)]


def test_health_has_no_cause() -> None:
    assert judge(HEALTH, probes(), [name_probe()]) == ()
    assert judge(with_source(HEALTH, egress=EGRESS), probes(), [name_probe()]) == ()


@pytest.mark.parametrize(("identifier", "facts", "sent", "observed"), PACKETS)
def test_lost_packets_have_this_cause(identifier: str, facts: LinkFacts, sent: Sequence[Probe], observed: str) -> None:
    first = judge(facts, sent, [name_probe()])[0]
    assert (first.id, first.kind, first.explains_packets) == (identifier, "fault", True)
    assert observed in first.observed


@pytest.mark.parametrize(("identifier", "facts", "observed"), NAMES)
def test_lost_names_have_this_cause_while_packets_pass(identifier: str, facts: LinkFacts, observed: str) -> None:
    first = judge(facts, probes(), [name_probe(passed=False)])[0]
    assert (first.id, first.kind, first.explains_names, first.explains_packets) == (identifier, "fault", True, False)
    assert observed in first.observed


@pytest.mark.parametrize(("facts", "observed"), SILENT)
def test_a_node_that_is_away_explains_names_whose_services_have_no_pod_elsewhere(
    facts: LinkFacts, observed: str
) -> None:
    (cause,) = judge(facts, probes(), [name_probe(passed=False)])
    assert (cause.kind, cause.explains_names) == ("fault", True)
    assert observed in cause.observed
    (cause,) = judge(facts, probes(), [name_probe()])
    assert (cause.kind, cause.explains) == ("remark", False)


def test_a_node_that_is_away_does_not_explain_names_that_are_served_elsewhere() -> None:
    facts = with_target(node_away(HEALTH, which=0, kubelet="absent", ready=False), dns_nodes=frozenset({"mn-1"}))
    assert said(facts, probes(), [name_probe(passed=False)]) == ["names-unexplained", "kubelet-away"]


@pytest.mark.parametrize(("identifier", "facts", "observed"), OPEN)
def test_what_is_open_is_a_security_fault_though_all_packets_pass(
    identifier: str, facts: LinkFacts, observed: str
) -> None:
    (cause,) = judge(facts, probes(), [name_probe()])
    assert (cause.id, cause.kind, cause.explains) == (identifier, "security", False)
    assert observed in cause.observed


@pytest.mark.parametrize(("identifier", "facts", "observed"), REMARKS)
def test_what_stands_in_the_way_of_nothing_is_a_remark(identifier: str, facts: LinkFacts, observed: str) -> None:
    (cause,) = judge(facts, probes(), [name_probe()])
    assert (cause.id, cause.kind, cause.explains) == (identifier, "remark", False)
    assert observed in cause.observed


@pytest.mark.parametrize(
    ("identifier", "facts", "sent", "_observed"), [case for case in PACKETS if case[0] != "unexplained"]
)
def test_a_fault_that_costs_nothing_is_a_remark(
    identifier: str, facts: LinkFacts, sent: Sequence[Probe], _observed: str
) -> None:
    causes = {cause.id: cause for cause in judge(facts, probes(), [name_probe()])}
    assert causes[identifier].kind == "remark"


def test_the_packet_filter_gone_is_told_as_lost_masquerade_first_and_as_open_beside_it() -> None:
    facts = with_target_router(HEALTH, firewall=NO_FILTER)
    causes = judge(facts, probes(lost_to=["other"]), [name_probe()])
    assert [(cause.id, cause.kind) for cause in causes] == [
        ("masquerade-missing", "fault"),
        ("guard-missing", "security"),
    ]
    # Where only pods on the router's node are asked, all packets pass, and it is told all the same.
    assert said(facts, probes()) == ["masquerade-missing", "guard-missing"]


def test_what_explains_more_comes_before_what_explains_less() -> None:
    both = with_target_router(HEALTH, firewall=NO_FILTER, forwarding=False)
    assert said(both, all_lost())[:2] == ["forwarding-off", "masquerade-missing"]


def test_the_beginning_of_the_way_comes_first_among_those_that_explain_as_much() -> None:
    disabled = with_policy(HEALTH, PODS, replace(NETBIRD.policies[PODS], enabled=False))
    assert said(with_source_router(disabled, routes=()), all_lost()) == ["policy-disabled", "route-missing"]


def test_what_a_cause_leaves_unexplained_is_said_after_it() -> None:
    facts = with_target_router(HEALTH, firewall=FirewallFacts(masquerade=False, forward=True, input=True))
    causes = judge(facts, all_lost(), [])
    assert [cause.id for cause in causes] == ["masquerade-missing", "unexplained"]
    assert causes[1].observed.startswith("2 of the probes are lost")


def test_a_router_that_packets_do_not_come_by_explains_nothing() -> None:
    spare = replace(
        HEALTH.source.routers[0], node="de-agent-2", node_ip="10.0.1.32", address="100.77.0.9", forwarding=False
    )
    two = with_source(HEALTH, routers=(HEALTH.source.routers[0], spare), egress=EGRESS)
    causes = judge(two, all_lost(), [])
    assert [(cause.id, cause.kind) for cause in causes] == [("unexplained", "fault"), ("forwarding-off", "remark")]
    receiving = replace(HEALTH.target.routers[0], node="mn-3", address="100.77.0.8", interface="down")
    causes = judge(with_target(HEALTH, routers=(HEALTH.target.routers[0], receiving)), all_lost(), [])
    assert [(cause.id, cause.kind) for cause in causes] == [("unexplained", "fault"), ("interface-away", "remark")]


def keeper_of(peer: str, *, out: str, over: dict[str, str]) -> KeeperStatus:
    return KeeperStatus(ok=True, reasons=(), draining=False, out={peer: out}, over={peer: over}, mended={})


def test_keepers_tell_which_routers_packets_come_by_while_nothing_is_lost() -> None:
    own = replace(HEALTH.source.routers[0], keeper=keeper_of("mn", out="de-agent-1", over={str(MN_PODS): "mn-2"}))
    spare = replace(own, node="de-agent-2", node_ip="10.0.1.32", address="100.77.0.9", routes=())
    two = with_source(HEALTH, routers=(own, spare))
    other = replace(HEALTH.target.routers[0], node="mn-3", address="100.77.0.8", forwarding=False)
    two = with_target(two, routers=(HEALTH.target.routers[0], other))
    found = {cause.where: cause.kind for cause in judge(two, all_lost(), [])}
    assert found["de-agent-2, router of de"] == found["mn-3, router of mn"] == "remark"
    # The device of the router that leads sends to the other one, whatever NetBird's agent has chosen.
    own = replace(own, keeper=keeper_of("mn", out="de-agent-2", over={str(MN_PODS): "mn-2"}))
    spare = replace(spare, keeper=keeper_of("mn", out="de-agent-2", over={str(MN_PODS): "mn-3"}))
    found = {cause.where: cause.kind for cause in judge(with_source(two, routers=(own, spare)), all_lost(), [])}
    assert found["de-agent-2, router of de"] == found["mn-3, router of mn"] == "fault"


def test_what_could_not_be_found_out_is_no_cause() -> None:
    seen = HEALTH.source.routers[0]
    blind = RouterFacts(node=seen.node, node_ip=seen.node_ip, pod=seen.pod, machine_running=True)
    unknown = with_source(HEALTH, routers=(blind,), policies=None, zones=None, dns_pods=None)
    assert judge(unknown, probes(), [name_probe()]) == ()


def every_cause() -> list[tuple[str, str]]:
    found = [(cause.id, cause.fix) for _, facts, sent, _ in PACKETS for cause in judge(facts, sent, [name_probe()])]
    for _, facts, _ in (*NAMES, *OPEN, *REMARKS):
        found += [(cause.id, cause.fix) for cause in judge(facts, probes(), [name_probe(passed=False)])]
    return found


def test_every_cause_of_the_catalogue_is_seen_here_and_has_a_fix() -> None:
    found = every_cause()
    assert {identifier for identifier, _ in found} == set(CATALOGUE)
    for identifier, fix in found:
        assert re.search(
            r"kubectl --context (de|mn) |pulumi (up|refresh) |lab shell \S+ -- |machines\.start\('|lab up", fix
        ), (
            identifier,
            fix,
        )
        assert "{" not in fix
        assert "lab status" not in fix


@pytest.mark.parametrize(
    ("passed", "verdict"), [([True, True], "up"), ([True, False], "partly"), ([False], "down"), ([], "unknown")]
)
def test_verdicts(passed: list[bool], verdict: str) -> None:
    assert verdict_of(passed) == verdict


def test_without_a_pod_the_routers_pods_are_named_by_the_label_that_they_have() -> None:
    (router,) = HEALTH.target.routers
    assert finding.ROUTER_POD_LABEL == ROUTER_POD_LABEL
    assert parameters_of(replace(router, pod=""), HEALTH.target)["pod"] == "-l isthmus.dev/router-of=mn"
    assert parameters_of(router, HEALTH.target)["pod"] == router.pod
