"""Which rules of a packet filter drop what peers' routers send, as nft 1.0.6 writes them in JSON."""

from __future__ import annotations

from typing import Any

import pytest

from lab.status.node_filter import drops_peers, reached

DROP: dict[str, Any] = {"drop": None}
REJECT: dict[str, Any] = {"xt": {"type": "target", "name": "REJECT"}}
"""As iptables lays it."""


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def address(text: str, op: str = "==", field: str = "saddr") -> dict[str, Any]:
    network, _, length = text.partition("/")
    right = {"prefix": {"addr": network, "len": int(length)}} if length else network
    return match({"payload": {"protocol": "ip", "field": field}}, right, op)


def port(right: Any, op: str = "==", field: str = "dport") -> dict[str, Any]:
    return match({"payload": {"protocol": "udp", "field": field}}, right, op)


def interface(right: Any, op: str = "==", key: str = "iifname") -> dict[str, Any]:
    return match({"meta": {"key": key}}, right, op)


NETBIRDS = address("100.64.0.0/10")
BOTH = {"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"prefix": {"addr": "100.64.0.0", "len": 10}}]}


@pytest.mark.parametrize(
    "rule",
    [
        [interface("tailscale0", "!="), NETBIRDS, DROP],
        [NETBIRDS, REJECT],
        [NETBIRDS, {"counter": {"packets": 1, "bytes": 60}}, {"reject": {"type": "icmp", "expr": "port-unreachable"}}],
        [address("100.77.0.1"), DROP],
        [address("100.0.0.0/8", field="daddr"), DROP],
        [match({"payload": {"protocol": "ip", "field": "saddr"}}, BOTH), DROP],
        [interface("wt0"), port(1053), DROP],
        [interface({"set": ["eth0", "wt0"]}), port({"set": [53, 1053]}), DROP],
        [interface("wt*"), port(1053, field="sport"), DROP],
        [NETBIRDS, port(1053), DROP],
        [address("10.0.0.0/8", "!="), port(1053), DROP],
    ],
)
def test_it_drops_what_they_send(rule: list[dict[str, Any]]) -> None:
    assert drops_peers(rule, 1053)


@pytest.mark.parametrize(
    "rule",
    [
        [DROP],
        [NETBIRDS, {"return": None}],
        [NETBIRDS, {"jump": {"target": "logged"}}],
        [interface("wt0"), DROP],
        [interface("eth0"), NETBIRDS, DROP],
        [interface("wt0", "!="), NETBIRDS, DROP],
        [interface("wt*", "!="), port(1053), DROP],
        [interface("tailscale0", key="oifname"), NETBIRDS, DROP],
        [address("100.128.0.0/10"), DROP],
        [address("fd00::/8"), DROP],
        [address("0.0.0.0/0"), DROP],
        [address("100.64.0.0/10", "!="), port(1053), DROP],
        [address("10.0.0.0/8"), port(1053), DROP],
        [match({"payload": {"protocol": "ip", "field": "saddr"}}, "@blocked"), DROP],
        [NETBIRDS, port(22), DROP],
        [port(1054), DROP],
        [port(1053, "!="), NETBIRDS, DROP],
    ],
)
def test_it_leaves_them_alone_or_nobody_knows(rule: list[dict[str, Any]]) -> None:
    assert not drops_peers(rule, 1053)


def test_a_chain_is_met_at_the_hooks_that_lead_there_by_jumps() -> None:
    def chain(name: str, **base: Any) -> dict[str, Any]:
        return {"chain": {"family": "ip", "table": "filter", "name": name, **base}}

    def rule(name: str, verdict: dict[str, Any]) -> dict[str, Any]:
        return {"rule": {"family": "ip", "table": "filter", "chain": name, "handle": 1, "expr": [verdict]}}

    ruleset = [
        *(chain("INPUT", hook="input"), chain("FORWARD", hook="forward"), chain("a"), chain("b"), chain("lonely")),
        *(rule("INPUT", {"jump": {"target": "a"}}), rule("FORWARD", {"jump": {"target": "b"}})),
        *(rule("a", {"goto": {"target": "b"}}), rule("b", {"jump": {"target": "a"}}), rule("lonely", DROP)),
        {"rule": {"family": "inet", "table": "filter", "chain": "INPUT", "handle": 9, "expr": [DROP]}},
    ]
    assert {name: sorted(hooks) for (_, _, name), hooks in reached(ruleset).items()} == {
        "INPUT": ["input"],
        "FORWARD": ["forward"],
        "a": ["forward", "input"],
        "b": ["forward", "input"],
    }
