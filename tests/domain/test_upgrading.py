"""A node goes on to another k3s: what stands against it, when its pods leave first, and when it has."""

from __future__ import annotations

from typing import Any

import pytest

from domain.k3s_upgrades import is_of
from domain.upgrading import (
    SETTINGS,
    behind,
    drains,
    has_gone_on,
    newer_than_servers,
    not_begun,
    not_staged,
    not_there,
    to_version,
    why_not_now,
)
from tests.domain.test_generation import SERVERS, node

AGENT = "de-agent-1"


@pytest.mark.parametrize(
    ("name", "servers", "listed", "version", "says"),
    [
        (SERVERS[0], SERVERS, [node(SERVERS[0]), node(SERVERS[1])], "v1.34.9+k3s1", "de-server-3 is not ready"),
        (SERVERS[0], SERVERS[:1], [node(SERVERS[0])], "v1.34.7+k3s1", "which is newer, and k3s does not go back"),
        (SERVERS[0], SERVERS[:1], [node(SERVERS[0])], "v1.36.0+k3s1", "from one minor release to the next"),
        (AGENT, SERVERS[:1], [node(SERVERS[0]), node(AGENT)], "v1.35.0+k3s1", "the server de-server-1 runs v1.34.8"),
        (AGENT, SERVERS[:1], [node(SERVERS[0], "v1.35.0+k3s1"), node(AGENT)], "v1.35.0+k3s1", None),
        (AGENT, SERVERS[:1], [node(SERVERS[0]), node(AGENT)], "v1.34.9+k3s1", None),
        (SERVERS[0], SERVERS[:1], [node(SERVERS[0], ready="False")], "v1.34.9+k3s1", None),
        (SERVERS[0], SERVERS, [node(server) for server in SERVERS], "v1.35.0+k3s1", None),
        (AGENT, SERVERS[:1], [node(SERVERS[0]), node(AGENT, "")], "v1.34.9+k3s1", None),
    ],
)
def test_what_stands_against_it(
    name: str, servers: list[str], listed: list[dict[str, Any]], version: str, says: str | None
) -> None:
    found = why_not_now({"items": listed}, name, server="server" in name, servers=servers, version=version)
    assert found is None if says is None else says in str(found)


def test_a_worker_that_would_be_newer() -> None:
    listed = {"items": [node(SERVERS[0], "v1.35.1+k3s1"), node(SERVERS[1])]}
    said = "it would run k3s v1.35.1+k3s1, and the server de-server-2 runs v1.34.8+k3s1; a worker is never newer"
    assert str(newer_than_servers(listed, SERVERS, "v1.35.1+k3s1")).startswith(said)
    assert newer_than_servers(listed, SERVERS[:1], "v1.35.1+k3s1") is None
    assert newer_than_servers({"items": []}, SERVERS, "v1.35.1+k3s1") is None


def test_who_is_behind() -> None:
    listed = {"items": [node("a"), node("b", "v1.34.9+k3s1"), node("c", "v1.34.9"), node("d", "v1.34.9+k3s2")]}
    assert behind(listed, ["a", "b", "c", "d", "e"], "v1.34.9+k3s1") == ["a", "d"]
    assert behind(listed, ["b"], "v1.34.9+k3s1") == []


@pytest.mark.parametrize(
    ("kubelet", "same"), [("v1.34.9+k3s1", True), ("v1.34.9", True), ("v1.34.9+k3s2", False), ("", False)]
)
def test_a_kubelet_that_was_built_without_k3s_says_kubernetes_alone(kubelet: str, same: bool) -> None:
    assert is_of(kubelet, "v1.34.9+k3s1") is same


@pytest.mark.parametrize(
    ("version", "found"), [("v1.34.9+k3s1", False), ("v1.35.0+k3s1", True), ("v1.34.8+k3s2", False)]
)
def test_pods_leave_for_a_minor_release(version: str, found: bool) -> None:
    assert drains(node("a"), version) is found
    assert drains(node("a", ""), version)


def test_it_has_gone_on_once_its_kubelet_says_so() -> None:
    assert has_gone_on(node("a"), "v1.34.9+k3s1") == (False, "its kubelet says v1.34.8+k3s1")
    assert has_gone_on(node("a", "v1.34.9+k3s1", ready="False"), "v1.34.9+k3s1")[0] is False
    assert has_gone_on(node("a", "v1.34.9+k3s1", EtcdIsVoter="False"), "v1.34.9+k3s1")[0] is False
    assert has_gone_on(node("a", "v1.34.9+k3s1"), "v1.34.9+k3s1") == (True, "it is ready")
    assert has_gone_on(None, "v1.34.9+k3s1") == (False, "it has not joined")


def test_all_that_lack_the_binary_are_named() -> None:
    said = not_staged("de", "v1.34.9+k3s1", {"a": "no answer", "b": "the checksum is 1"})
    assert said == (
        "de: no node goes on to k3s v1.34.9+k3s1, since it is not on all machines: a: no answer; b: the checksum is 1. "
        "No node was touched"
    )


def test_what_is_said_of_a_version_and_of_settings() -> None:
    assert not_begun("de", "a", to_version("v1.34.9+k3s1"), "x").startswith(
        "de: node a does not go on to k3s v1.34.9+k3s1: x. Nothing was changed on it"
    )
    assert not_begun("de", "a", SETTINGS, "x").startswith("de: node a does not take its settings of k3s: x. Nothing")
    assert not_there("de", "a", SETTINGS, 300, "it has not joined").startswith(
        "de: node a has not taken its settings of k3s: 300 s after its k3s was started it has not joined. It stays"
    )
    assert SETTINGS.mark != to_version("v1.34.9+k3s1").mark
