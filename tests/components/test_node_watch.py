"""Machines that are no nodes, or are away, are named, and hold up nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

import pulumi
import pytest

from components.kubernetes_client import KubernetesError
from components.node_watch import NodesMissingError, look_and_open, wait_for_nodes
from domain.leaving import LEAVES_ANNOTATION, opening
from domain.node_marks import marking
from domain.nodes import Marks, Node
from domain.upgrading import UPGRADES_ANNOTATION
from tests.domain.samples import DE, MN, plan_of

NODES = plan_of("mn", MN).nodes


def listed(**ready: str) -> dict[str, Any]:
    """The API's list: nodes by name, with what their kubelet says (True, False), or that it says nothing (Unknown)."""
    conditions = {
        "Unknown": {"lastTransitionTime": "2026-11-29T03:00:00Z", "message": "Kubelet stopped posting node status."}
    }
    return {
        "items": [
            {
                "metadata": {"name": name.replace("_", "-")},
                "status": {"conditions": [{"type": "Ready", "status": status, **conditions.get(status, {})}]},
            }
            for name, status in ready.items()
        ]
    }


class Cluster:
    """Answers one after the other, the last one for good, while time passes by sleeping alone."""

    def __init__(self, *answers: Mapping[str, Any] | KubernetesError) -> None:
        self._answers = list(answers)
        self.time = 0.0
        self.said: list[str] = []
        self.warned: list[str] = []

    async def look(self) -> Mapping[str, Any]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, KubernetesError):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    def wait(self) -> Cluster:
        self.wait_as("mn", NODES, first_boot=False)
        return self

    def wait_as(self, stack: str, nodes: Sequence[Node], *, first_boot: bool) -> None:
        asyncio.run(
            wait_for_nodes(
                self.look, stack, nodes, self.said.append, self.warned.append,
                first_boot=first_boot, now=lambda: self.time, sleep=self.sleep,
            )
        )  # fmt: skip


READY = listed(mn_1="True", mn_2="True")


def test_all_there_says_nothing() -> None:
    cluster = Cluster(READY).wait()
    assert (cluster.said, cluster.warned, cluster.time) == ([], [], 0.0)


def test_it_says_what_it_waits_for() -> None:
    unreachable = KubernetesError("Kubernetes API at 192.168.7.11:6443: GET /api/v1/nodes: Connection refused")
    cluster = Cluster(listed(mn_1="True"), unreachable, listed(mn_1="True", mn_2="False"), READY).wait()
    assert cluster.said == [
        "mn: waiting for its nodes (0 of 900 s): mn-2 has not joined",
        f"mn: waiting for its nodes (3 of 900 s): {unreachable}",
        "mn: waiting for its nodes (6 of 900 s): mn-2 is not ready yet",
    ]
    assert cluster.warned == []


def test_one_that_does_not_join_is_named_and_the_next_time_it_goes_through() -> None:
    with pytest.raises(NodesMissingError) as refusal:
        Cluster(listed(mn_1="True")).wait()
    assert str(refusal.value) == (
        "mn: not joined within 900 s: mn-2 (192.168.7.12); everything that does not need it is done. "
        "`journalctl -u k3s-agent` there may say why; where that is 'Node password rejected', the name was another "
        "machine's: `kubectl delete node NAME`. Nothing of this stands in the way of the next `pulumi up`"
    )
    assert Cluster(READY).wait().warned == []


def test_one_that_was_there_and_is_away_is_not_waited_for() -> None:
    cluster = Cluster(listed(mn_1="True", mn_2="Unknown")).wait()
    assert (cluster.said, cluster.time) == ([], 0.0)
    assert cluster.warned == [
        (
            "mn: node mn-2 is away since 2026-11-29T03:00:00Z: Kubelet stopped posting node status. What runs there "
            "alone is down, and all else went on without it"
        )
    ]


def test_one_that_joined_and_never_gets_ready() -> None:
    cluster = Cluster(listed(mn_1="True", mn_2="False")).wait()
    assert cluster.warned == ["mn: node mn-2 is not ready after 900 s; `kubectl describe node mn-2` says why"]


def test_an_api_that_does_not_answer_holds_up_nothing() -> None:
    cluster = Cluster(KubernetesError("no answer")).wait()
    assert cluster.warned == ["mn: its nodes can't be looked at: no answer"]
    assert cluster.time == 60.0


def test_at_hetzner_the_first_boot_has_a_log() -> None:
    with pytest.raises(
        NodesMissingError, match=r"/var/log/isthmus-install-k3s\.log and `journalctl -u k3s -u k3s-agent`"
    ):
        Cluster({"items": []}).wait_as("de", plan_of("de", DE).nodes, first_boot=True)


def test_a_node_that_was_to_leave_and_stays_is_made_schedulable_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An `up` was killed while it was emptied, and then its machine came back into the stack file."""
    asked: list[tuple[str, str, Any]] = []
    marked = {"name": "mn-2", "annotations": {LEAVES_ANNOTATION: "true"}}
    nodes: dict[str, Any] = {
        "items": [{"metadata": {"name": "mn-1"}}, {"metadata": marked, "spec": {"unschedulable": True}}]
    }

    class Client:
        def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Any:
            asked.append((method, path, body))
            assert content_type == ("application/merge-patch+json" if method == "PATCH" else "")
            return nodes

    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", said.append)
    client: Any = Client()
    first, second = (Node(name, "agent", False, IPv4Address("192.168.7.11")) for name in ("mn-1", "mn-2"))
    assert look_and_open(client, "mn", [first, second], settled=True) == nodes
    assert asked == [("GET", "/api/v1/nodes", None), ("PATCH", "/api/v1/nodes/mn-2", opening(nodes["items"][1]))]
    assert said == ["mn: node mn-2 was to leave and stays; it is schedulable again"]
    asked.clear()
    assert look_and_open(client, "mn", [first], settled=True) == nodes
    assert [method for method, *_ in asked] == ["GET"]


@pytest.mark.parametrize("settled", [True, False])
def test_a_node_that_was_to_go_on_and_stays_is_made_schedulable_again(
    monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    """An `up` was killed while it went on to another k3s, and then the stack file had the former one again."""
    asked: list[tuple[str, str, Any]] = []
    marked = {"name": "de-agent-1", "annotations": {UPGRADES_ANNOTATION: "true"}}
    nodes: dict[str, Any] = {"items": [{"metadata": marked, "spec": {"unschedulable": True}}]}

    class Client:
        def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Any:
            asked.append((method, path, body))
            return nodes

    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", said.append)
    client: Any = Client()
    look_and_open(client, "de", [Node("de-agent-1", "agent", False, IPv4Address("10.0.1.31"))], settled=settled)
    if settled:
        patch = opening(nodes["items"][0], UPGRADES_ANNOTATION)
        assert asked[1:] == [("PATCH", "/api/v1/nodes/de-agent-1", patch)]
        assert said == ["de: node de-agent-1 was to go on to another k3s and stays; it is schedulable again"]
    else:
        assert (asked[1:], said) == ([], [])


def test_a_node_gets_the_labels_and_taints_of_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it has joined; one that has not is left for the next look."""
    asked: list[tuple[str, str, Any]] = []
    nodes: dict[str, Any] = {"items": [{"metadata": {"name": "de-db-1", "resourceVersion": "3"}}]}

    class Client:
        def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Any:
            asked.append((method, path, body))
            return nodes

    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", said.append)
    marks = Marks((("workload", "db"),), ("workload=db:NoSchedule",))
    wanted = [Node(f"de-db-{n}", "agent", False, IPv4Address(f"10.0.1.{64 + n}"), marks=marks) for n in (1, 2)]
    client: Any = Client()
    look_and_open(client, "de", wanted, settled=True)
    assert asked == [
        ("GET", "/api/v1/nodes", None),
        ("PATCH", "/api/v1/nodes/de-db-1", marking(nodes["items"][0], marks)),
    ]
    assert said == ["de: node de-db-1 has the labels and taints of its pool"]
