"""Names that Cilium's chart does not have: what is said of them, and up to which release."""

from __future__ import annotations

import pytest

from domain.cilium_chart import KNOWN_RELEASE, chart_names, nested, unknown_values


def said(values: dict[str, object], version: str | None = KNOWN_RELEASE) -> list[tuple[str, str]]:
    return [(unknown.path, unknown.fix) for unknown in unknown_values(values, version)]


def test_names_stand_alone_or_in_their_section() -> None:
    names = chart_names()
    assert names["MTU"] == frozenset()
    assert names["egressGateway"] == {"enabled", "maxPolicyEntries", "reconciliationTriggerInterval"}
    assert not any(":" in name for name in names)


@pytest.mark.parametrize("version", ["1.19.0", "1.19.6", None])
def test_an_unknown_name_up_to_the_known_release(version: str | None) -> None:
    assert said({"hubbel": {}}, version) == [("hubbel", "did you mean hubble?")]


def test_a_later_chart_may_have_more() -> None:
    assert said({"newerValue": True, "bpf": {"newerValue": True}}, "1.19.7") == []
    assert said({"newerValue": True}) == [("newerValue", "remove it")]


def test_what_is_free_is_free() -> None:
    assert said({"podAnnotations": {"example.net/team": "net"}, "securityContext": {"runAsUser": 0}}) == []


def test_nothing_of_a_strange_name_is_proposed() -> None:
    assert said({"bpf.\x1b[31m": True, "bpf." + "a" * 200: True}) == [
        ("'bpf.\\x1b[31m'", "remove it"),
        (("bpf." + "a" * 200)[:77] + "...", "remove it"),
    ]


def test_nested() -> None:
    assert nested("MTU", "1280") == "MTU: 1280"
    assert nested("hubble.relay.enabled", "true") == "hubble: {relay: {enabled: true}}"
