"""A server gets another type: when the next one may be switched off."""

from __future__ import annotations

from typing import Any

import pytest

from domain.router_rollout import ROUTER_POD_LABEL
from domain.type_changes import has_another_type, not_changed, starts, waits, why_no_majority, why_not_again
from tests.domain.test_generation import SERVERS, node

CILIUM = "kube-system/cilium"


def pod(
    *, owner: str | None = "cilium", uid: str = "1", started: str = "", ready: bool = True, **metadata: Any
) -> dict[str, Any]:
    """A pod of a DaemonSet, or of none."""
    references = [{"kind": "DaemonSet", "name": owner, "controller": True}] if owner else []
    return {
        "metadata": {"namespace": "kube-system", "uid": uid, "ownerReferences": references, **metadata},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "agent", "containerID": started, "restartCount": 0, "state": {}}],
        },
    }


def running(*pods: dict[str, Any]) -> dict[str, frozenset[str]]:
    return dict(starts({"items": list(pods)}))


def test_another_type_is_seen_in_the_inputs() -> None:
    assert has_another_type({"serverType": "cx23", "labels": {}}, {"serverType": "cx33", "labels": {}})
    assert not has_another_type({"serverType": "cx23", "labels": {}}, {"serverType": "cx23", "labels": {"a": "b"}})


def test_what_is_waited_for_are_daemon_sets_and_the_agent_as_far_as_they_are_ready() -> None:
    labels = {ROUTER_POD_LABEL: "de"}
    assert running() == {}
    found = running(
        pod(),
        pod(owner="broken", ready=False),
        pod(owner=None),
        pod(owner=None, labels=labels),
        pod(owner="going", deletionTimestamp="2026-12-01T00:00:00Z"),
    )
    assert found.keys() == {CILIUM, "NetBird's agent"}


@pytest.mark.parametrize(
    ("now", "lacks"),
    [
        pytest.param(node("a"), f"{CILIUM} is not ready there again", id="its kubelet's word of before"),
        pytest.param(node("a", ready="Unknown"), "it has joined and is not ready yet", id="off"),
        pytest.param(node("a", EtcdIsVoter="False"), "its member of etcd has no vote yet", id="a learner"),
        pytest.param(None, "it has not joined", id="no Node"),
    ],
)
def test_a_node_that_was_switched_off_a_moment_ago(now: dict[str, Any] | None, lacks: str) -> None:
    before = running(pod(started="1"))
    assert why_not_again(now, before, before) == lacks


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(pod(started="2"), id="its container"),
        pytest.param(pod(started="1", uid="2"), id="another pod of it"),
    ],
)
def test_a_node_works_again_once_all_of_it_was_started_anew(again: dict[str, Any]) -> None:
    before = running(pod(started="1"), pod(owner="keeper", started="1"))
    assert why_not_again(node("a"), before, running(again)) == "kube-system/keeper is not ready there again"
    assert why_not_again(node("a"), before, running(again, pod(owner="keeper", started="2"))) == ""


def test_one_of_which_nothing_was_known_has_to_be_ready() -> None:
    assert why_not_again(node("a"), {}, {}) == ""
    assert why_not_again(node("a", ready="False"), {}, {})


ADDRESSES = {"198.51.100.2": "", "198.51.100.3": ""}


@pytest.mark.parametrize(
    ("listed", "asked", "lacks"),
    [
        pytest.param([node(name) for name in SERVERS], ADDRESSES, "", id="all are there"),
        pytest.param(
            [node(SERVERS[0]), node(SERVERS[1])], ADDRESSES, "de-server-3: it has not joined", id="one has no Node"
        ),
        pytest.param(
            [node(SERVERS[0]), node(SERVERS[1], EtcdIsVoter="False"), node(SERVERS[2], ready="Unknown")],
            ADDRESSES,
            "de-server-2: its member of etcd has no vote yet; de-server-3: it has joined and is not ready yet",
            id="a learner, and one that is away",
        ),
        pytest.param(
            [node(name) for name in SERVERS],
            {**ADDRESSES, "198.51.100.2": "etcd failed"},
            "the server at 198.51.100.2: etcd failed",
            id="one says that it is not ready",
        ),
        pytest.param(
            [node(name) for name in SERVERS],
            {**ADDRESSES, "198.51.100.4": "no route to host"},
            "",
            id="one has left since the last update",
        ),
        pytest.param([node(name) for name in SERVERS], {}, "", id="both have come since the last update"),
    ],
)
def test_etcd_bears_to_lose_one(listed: list[dict[str, Any]], asked: dict[str, str], lacks: str) -> None:
    assert why_no_majority({"items": listed}, SERVERS[1:], asked) == lacks


def test_what_is_said() -> None:
    assert waits("de", "de-server-2", "de-server-1: it is not ready", 4.4, 600.0) == (
        "de: de-server-2 waits for its other type (4 of 600 s): de-server-1: it is not ready"
    )
    assert not_changed("de", "de-server-2", "de-server-1: it is not ready", 600.0) == (
        "de: de-server-2 does not get its other type, for which it would be switched off: after 600 s de-server-1: it "
        "is not ready. Nothing was changed on it, nor on what comes after it in its group. Bring those back first; the "
        "next `pulumi up` goes on there"
    )
