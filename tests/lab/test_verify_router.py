"""Which router the checks look at: the one that carries packets, whatever the kubelet has noticed of it."""

from __future__ import annotations

from typing import Any

import pytest

from lab.verify.workload import acting


def pod(name: str, *, ready: bool, host: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready)}
    return {"metadata": {"name": name}, "status": {"conditions": [condition], "hostIP": host}}


CONNECTED = {"management": {"connected": True}}
LOST = {"management": {"connected": False}}


@pytest.mark.parametrize(
    ("routers", "name"),
    [
        pytest.param([(pod("new", ready=False), CONNECTED)], "new", id="carries packets before it is ready"),
        pytest.param(
            [(pod("a", ready=True), LOST), (pod("b", ready=False), CONNECTED)], "b", id="connected goes before ready"
        ),
        pytest.param(
            [(pod("a", ready=False), CONNECTED), (pod("b", ready=True), CONNECTED)], "b", id="ready of two connected"
        ),
        pytest.param([(pod("a", ready=True), {})], "a", id="silent agent of a ready pod"),
        pytest.param([(pod("a", ready=False), {}), (pod("b", ready=False), LOST)], "b", id="an agent that answers"),
    ],
)
def test_the_router_that_is_looked_at(routers: list[tuple[dict[str, Any], dict[str, Any]]], name: str) -> None:
    chosen = acting(routers)
    assert chosen is not None
    assert chosen[0]["metadata"]["name"] == name


@pytest.mark.parametrize(
    ("routers", "name"),
    [
        pytest.param(
            [(pod("a", ready=True, host="10.0.1.31"), CONNECTED), (pod("b", ready=False, host="10.0.1.32"), CONNECTED)],
            "b",
            id="Cilium leads to it",
        ),
        pytest.param(
            [(pod("a", ready=True, host="10.0.1.31"), CONNECTED), (pod("b", ready=True, host="10.0.1.32"), LOST)],
            "a",
            id="Cilium leads to one that is lost",
        ),
    ],
)
def test_of_two_it_is_the_one_that_carries(routers: list[tuple[dict[str, Any], dict[str, Any]]], name: str) -> None:
    chosen = acting(routers, frozenset({"10.0.1.32"}))
    assert chosen is not None
    assert chosen[0]["metadata"]["name"] == name


@pytest.mark.parametrize("routers", [[], [(pod("a", ready=False), {})]], ids=["no pod", "a pod that only starts"])
def test_without_a_router_that_runs_there_is_none(routers: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    assert acting(routers) is None
