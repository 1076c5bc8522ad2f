"""What others answer, as facts: machines, `netbird status`, nftables, Cilium's maps, NetBird's API."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from lab.status import reading
from lab.status.facts import DropFacts, EgressEntry, FirewallFacts, PeerFacts, RouterFacts
from lab.status.results import KeeperStatus

STATUS = {
    "netbirdIp": "100.77.0.1/16",
    "management": {"connected": True, "url": "http://198.51.100.10:8080"},
    "peers": {
        "details": [
            {
                "netbirdIp": "100.77.0.2",
                "status": "Connected",
                "connectionType": "P2P",
                "networks": ["10.44.0.0/16"],
            },
            {"netbirdIp": "100.77.0.3", "status": "Connecting", "connectionType": "-", "networks": None},
        ]
    },
}
RULE = {"rule": "ip saddr 100.64.0.0/10 drop", "chain": "ip filter ts-input"}
FILTER = {"masquerades": True, "drops": ["input", "forward"], "others": []}
LOOKED: dict[str, Any] = {
    "agent": {"pid": 4711, "name": "netbird", "frozen": False},
    "relay": {"pid": 4712, "name": "coredns", "frozen": False},
    "kubelet": {"pid": 12, "name": "kubelet", "frozen": False},
    "relay_listens": ["10.0.1.31", "100.77.0.1"],
    "wt0": {"up": True, "address": "100.77.0.1"},
    "programs": [1, 1],
    "cilium": {"pid": 11, "name": "cilium-agent", "frozen": False},
    "forwarding": 1,
    "rp_filter": [0, 2],
    "rules": [{"priority": 0}, {"priority": 105}, {"priority": 110}],
    "routes": [
        {"dst": "10.44.0.0/16", "dev": "wt0"},
        {"dst": "10.46.0.0/16", "dev": "eth0"},
        {"dst": "100.77.0.2", "dev": "wt0"},
    ],
    "firewall": FILTER,
    "status": STATUS,
}


def router(**changes: Any) -> RouterFacts:
    return reading.router(
        node="de-agent-1",
        node_ip="10.0.1.31",
        pod="networkrouter-1",
        machine_running=True,
        looked={**LOOKED, **changes},
        open_ports=(),
    )


def test_a_router_in_health() -> None:
    assert router() == RouterFacts(
        node="de-agent-1",
        node_ip="10.0.1.31",
        pod="networkrouter-1",
        machine_running=True,
        agent="running",
        agent_pid=4711,
        interface="up",
        programs=True,
        cilium="running",
        address="100.77.0.1",
        management=True,
        peers={
            "100.77.0.2": PeerFacts(connected=True, relayed=False, networks=("10.44.0.0/16",)),
            "100.77.0.3": PeerFacts(connected=False, relayed=True, networks=()),
        },
        rules=frozenset({0, 105, 110}),
        routes=(IPv4Network("10.44.0.0/16"), IPv4Network("100.77.0.2/32")),
        forwarding=True,
        rp_filter=2,
        firewall=FirewallFacts(masquerade=True, forward=True, input=True),
        relay="running",
        relay_on_node=True,
        relay_on_wt0=True,
        open_ports=(),
    )


@pytest.mark.parametrize(("counted", "expected"), [([1, 1], True), ([0, 0], False), ([1, 0], False), (None, None)])
def test_cilium_is_on_wt0_where_both_sides_have_a_program(counted: list[int] | None, expected: bool | None) -> None:
    assert router(programs=counted).programs is expected


KEEPER = {
    "ok": False,
    "reasons": ["ip_forward is 0"],
    "draining": False,
    "peers": {"mn": {"good": True, "out": "de-agent-1", "over": {"10.44.0.0/16": "mn-2"}}, "kz": {}},
    "mended": {"rules": 2},
    "later": "whatever",
}


def test_a_keepers_word_is_read_and_one_that_says_less_as_well() -> None:
    assert router().keeper is None
    assert router(keeper=KEEPER).keeper == KeeperStatus(
        ok=False,
        reasons=("ip_forward is 0",),
        draining=False,
        out={"mn": "de-agent-1", "kz": None},
        over={"mn": {"10.44.0.0/16": "mn-2"}, "kz": {}},
        mended={"rules": 2},
    )
    assert router(keeper={}).keeper == KeeperStatus(ok=False, reasons=(), draining=False, out={}, over={}, mended={})


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"agent": None}, "agent", "absent"),
        ({"agent": {"pid": 1, "frozen": True}}, "agent", "frozen"),
        ({"wt0": None}, "interface", "absent"),
        ({"wt0": {"up": False, "address": "100.77.0.1"}}, "interface", "down"),
        ({"wt0": {"up": True, "address": ""}}, "interface", "down"),
        ({"wt0": None}, "address", "100.77.0.1"),
        ({"status": None}, "management", None),
        ({"status": None}, "peers", None),
        ({"rules": None}, "rules", None),
        ({"routes": None}, "routes", None),
        ({"routes": []}, "routes", ()),
        ({"forwarding": 0}, "forwarding", False),
        ({"forwarding": None}, "forwarding", None),
        ({"rp_filter": [1, 0]}, "rp_filter", 1),
        ({"rp_filter": [0, None]}, "rp_filter", 0),
        ({"firewall": None}, "firewall", None),
        (
            {"firewall": {"masquerades": False, "drops": [], "others": []}},
            "firewall",
            FirewallFacts(masquerade=False, forward=False, input=False),
        ),
        (
            {"firewall": {"masquerades": True, "drops": ["forward"], "others": []}},
            "firewall",
            FirewallFacts(masquerade=True, forward=True, input=False),
        ),
        (
            {"firewall": {**FILTER, "others": [{**RULE, "hooks": ["input"]}, {**RULE, "hooks": ["forward"]}]}},
            "firewall",
            FirewallFacts(
                masquerade=True,
                forward=True,
                input=True,
                others=(DropFacts(**RULE, forward=False, node=True), DropFacts(**RULE, forward=True, node=False)),
            ),
        ),
        (
            {"firewall": {**FILTER, "others": [{**RULE, "hooks": ["prerouting"]}]}},
            "firewall",
            FirewallFacts(
                masquerade=True, forward=True, input=True, others=(DropFacts(**RULE, forward=True, node=True),)
            ),
        ),
        ({"relay": None}, "relay", "absent"),
        ({"relay": None}, "relay_on_wt0", None),
        ({"relay_listens": ["10.0.1.31"]}, "relay_on_wt0", False),
        ({"relay_listens": ["100.77.0.1"]}, "relay_on_node", False),
        ({"relay_listens": ["*"]}, "relay_on_node", True),
    ],
)
def test_a_router_with_a_fault(changes: dict[str, Any], name: str, value: object) -> None:
    assert getattr(router(**changes), name) == value


def test_a_router_whose_machine_says_nothing_is_unknown() -> None:
    bare = reading.router(node="n", node_ip="", pod="", machine_running=False, looked=None, open_ports=None)
    assert bare == RouterFacts(node="n", node_ip="", pod="", machine_running=False)


def node(labels: dict[str, str], looked: dict[str, Any] | None) -> tuple[object, ...]:
    ready = [{"type": "Ready", "status": "True"}]
    found = {"metadata": {"name": "mn-1", "labels": labels}, "status": {"conditions": ready}}
    made = reading.node(found, router=False, machine_running=True, looked=looked)
    return made.ready, made.unit, made.kubelet, made.kubelet_pid


def test_a_node() -> None:
    server = {"node-role.kubernetes.io/control-plane": "true"}
    assert node(server, LOOKED) == (True, "k3s.service", "running", 12)
    assert node({}, {**LOOKED, "kubelet": None}) == (True, "k3s-agent.service", "absent", None)
    assert node({}, None) == (True, "k3s-agent.service", None, None)


def test_an_egress_map() -> None:
    line = {"SourceIP": "10.42.0.5", "DestCIDR": "10.44.0.0/16", "EgressIP": "0.0.0.0", "GatewayIP": "10.0.1.31"}
    assert reading.egress([line]) == (
        EgressEntry(source="10.42.0.5", destination="10.44.0.0/16", egress_ip="0.0.0.0", gateway_ip="10.0.1.31"),
    )
    assert reading.egress(None) == ()


def test_netbirds_objects() -> None:
    rule = {
        "enabled": True,
        "action": "accept",
        "protocol": "udp",
        "ports": ["1053"],
        "port_ranges": [{"start": 20, "end": 30}],
        "bidirectional": False,
        "sources": [{"id": "g1", "name": "isthmus-de-routers"}],
        "destinations": None,
        "destinationResource": {"id": "r1", "type": "host"},
    }
    facts = reading.netbird(
        policies=[{"name": "p", "enabled": True, "rules": [rule]}],
        groups=[{"id": "g1", "name": "isthmus-de-routers", "peers_count": 2}],
        networks=[
            (
                [{"address": "10.42.0.0/16", "enabled": True, "groups": [{"id": "g2", "name": "isthmus-de-pods"}]}],
                [
                    {"enabled": True, "masquerade": True, "peer_groups": ["g1"], "peer": ""},
                    {"enabled": False, "masquerade": False, "peer_groups": None, "peer": "p1"},
                ],
            ),
            ([], []),
        ],
    )
    (made,) = facts.policies["p"].rules
    assert (made.ports, made.sources, made.destinations) == (
        ("1053", "20-30"),
        frozenset({"isthmus-de-routers"}),
        frozenset({"host r1"}),
    )
    (resource,) = facts.resources
    assert (resource.address, resource.groups) == ("10.42.0.0/16", frozenset({"isthmus-de-pods"}))
    assert [(routing.enabled, routing.masquerade, routing.peers) for routing in resource.routers] == [
        (True, True, 2),
        (False, False, 1),
    ]
