"""What the waits see in the cluster, by the API's answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from unittest import mock

import pytest

from components import waits
from components.kubernetes_client import KubernetesClient
from components.waiting import Seen
from tests.components.recording import Run


def daemon_set(*, desired: int = 2, observed: int = 4) -> dict[str, Any]:
    return {
        "metadata": {"name": "cilium", "uid": "u", "generation": 4},
        "status": {"desiredNumberScheduled": desired, "observedGeneration": observed},
    }


def pod(node: str, *, revision: str = "bbb", ready: bool = True, owner: str = "u", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"cilium-{node}",
            "labels": {"controller-revision-hash": revision},
            "ownerReferences": [{"uid": owner}],
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **status,
        },
    }


def node(name: str, ready: str = "True") -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-02T03:04:05Z"}
    return {"metadata": {"name": name}, "status": {"conditions": [condition]}}


REVISIONS = {
    "items": [
        {"metadata": {"name": f"cilium-{name}", "ownerReferences": [{"uid": "u"}]}, "revision": number}
        for number, name in ((9, "aaa"), (10, "bbb"))
    ]
}
NODES = {"items": [node("mn-1"), node("mn-2")]}
AWAY = {"items": [node("mn-1", "Unknown"), node("mn-2")]}


def seen(pods: Sequence[dict[str, Any]], nodes: Any = NODES, **changes: Any) -> Seen:
    return waits.daemon_set_seen(daemon_set(**changes), {"items": pods}, REVISIONS, nodes)


def test_all_ready() -> None:
    assert seen([pod("mn-1"), pod("mn-2")]) == Seen(True, "2 of 2 ready")


@pytest.mark.parametrize(
    ("pods", "changes", "state"),
    [
        ([pod("mn-1")], {}, "1 of 2 ready"),
        ([], {"desired": 0}, "0 of 0 ready"),
        ([pod("mn-1"), pod("mn-2")], {"observed": 3}, "cilium is new, and Kubernetes has not looked at it yet"),
        ([pod("mn-1"), pod("mn-2", owner="other")], {}, "1 of 2 ready"),
        ([pod("mn-1"), pod("mn-2", revision="aaa")], {}, "1 of 2 ready; cilium-mn-2 on mn-2: is being replaced"),
        ([pod("mn-1"), pod("mn-2", ready=False)], {}, "1 of 2 ready; cilium-mn-2 on mn-2: starting"),
        (
            [
                pod("mn-1"),
                pod(
                    "mn-2",
                    ready=False,
                    containerStatuses=[
                        {
                            "name": "agent",
                            "state": {"waiting": {"reason": "ErrImagePull", "message": "no such host\nx"}},
                        }
                    ],
                ),
            ],
            {},
            "1 of 2 ready; cilium-mn-2 on mn-2: agent: ErrImagePull (no such host)",
        ),
    ],
)
def test_not_yet(pods: Sequence[dict[str, Any]], changes: dict[str, int], state: str) -> None:
    found = seen(pods, **changes)
    assert (found.done, found.state) == (False, state)


def test_a_node_that_is_away_holds_up_nothing_and_is_named() -> None:
    old = pod("mn-1", revision="aaa", ready=False)
    found = seen([old, pod("mn-2")], AWAY)
    assert (found.done, found.state) == (True, "1 of 1 ready")
    assert found.notes == ("node mn-1 is away since 2026-01-02T03:04:05Z; cilium there was not waited for",)
    assert not seen([old, pod("mn-2", ready=False)], AWAY).done
    assert not seen([old], AWAY).done, "the node that is there has none yet"


def test_what_to_do_about_agents_that_do_not_come() -> None:
    wait = waits.cilium_agents(cast("KubernetesClient", None))
    assert wait.why(Seen(False, "")).startswith("`kubectl -n kube-system describe pods -l k8s-app=cilium`")


# --- NetBird's operator -----------------------------------------------------------------------------------------------


def deployment(*, replicas: int = 1, updated: int = 1, ready: int = 1, observed: int = 4) -> dict[str, Any]:
    return {
        "metadata": {"generation": 4},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, "updatedReplicas": updated, "readyReplicas": ready},
    }


BACK_OFF = {
    "metadata": {"name": "isthmus-netbird-operator-7d4-x2x"},
    "spec": {"nodeName": "mn-2"},
    "status": {
        "phase": "Pending",
        "containerStatuses": [{"name": "manager", "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
    },
}


@pytest.mark.parametrize(
    ("there", "pods", "expected"),
    [
        (deployment(), [], Seen(True, "1 of 1 ready")),
        (deployment(observed=3), [], Seen(False, "1 of 1 ready")),
        (deployment(updated=0), [], Seen(False, "0 of 1 ready")),
        (
            deployment(ready=0),
            [BACK_OFF],
            Seen(False, "0 of 1 ready; isthmus-netbird-operator-7d4-x2x on mn-2: manager: ImagePullBackOff"),
        ),
        (deployment(replicas=0, updated=0, ready=0), [], Seen(False, "somebody has scaled it to zero")),
    ],
)
def test_the_operator(there: dict[str, Any], pods: Sequence[dict[str, Any]], expected: Seen) -> None:
    assert waits.operator_seen(there, {"items": pods}) == expected


def test_an_operator_that_does_not_come_has_a_reason_and_a_way() -> None:
    path = "/apis/apps/v1/namespaces/netbird/deployments/isthmus-netbird-operator"
    pods = "/api/v1/namespaces/netbird/pods?labelSelector=app.kubernetes.io%2Fname%3Dnetbird-operator"
    router = "/apis/netbird.io/v1alpha1/namespaces/netbird/networkrouters/isthmus-mn"
    answers: dict[str, Any] = {path: None, pods: {"items": []}, router: None}

    class Answers:
        def get(self, path: str) -> Any:
            return answers[path]

        request = staticmethod(lambda _method, path: answers[path])

    client = cast("KubernetesClient", Answers())
    operator, made = waits.operator(client), waits.operators_router(client, "isthmus-mn")
    assert operator.look() == Seen(False, "Helm has not made it yet")
    assert made.look() == Seen(False, "there is no NetworkRouter isthmus-mn yet")
    answers[router] = {"metadata": {}}
    assert made.look() == Seen(False, "Helm has not made it yet")
    answers[path] = deployment()
    assert operator.look() == Seen(True, "1 of 1 ready")
    assert made.look() == Seen(False, "it has not been looked at; the operator runs")
    condition = {"type": "Ready", "status": "False", "message": "no group"}
    answers[router] = {"status": {"conditions": [condition]}}
    assert made.look() == Seen(False, "it is not ready: no group; the operator runs")
    why = operator.why(operator.look())
    assert "`kubectl -n netbird describe pods -l app.kubernetes.io/name=netbird-operator`" in why
    assert "scale deployment/isthmus-netbird-operator --replicas=1" in why


class Keepers:
    """The API server as far as the keepers' wait asks it; ``patched`` is what it changed."""

    def __init__(self, *, ready: bool, marks: dict[str, str | None]) -> None:
        self.ready, self.marks = ready, marks
        self.patched: list[tuple[str, Any]] = []

    def get(self, path: str) -> Any:
        assert path.endswith("/daemonsets/isthmus-keeper")
        return daemon_set()

    def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Any:
        if method == "PATCH":
            assert content_type == "application/merge-patch+json"
            self.patched.append((path, body))
            return {}
        if "controllerrevisions" in path:
            return REVISIONS
        if path == "/api/v1/nodes":
            return NODES
        assert "labelSelector=app.kubernetes.io%2Fname%3Disthmus-keeper" in path
        items = []
        for name, mark in self.marks.items():
            keeper = pod(name, ready=self.ready)
            annotations = {} if mark is None else {"annotations": {"isthmus.dev/keeper-config-sha256": mark}}
            items.append({**keeper, "metadata": {**keeper["metadata"], **annotations}})
        return {"items": items}


def test_keepers_that_run_are_marked_with_what_they_are_told() -> None:
    """So that their kubelets bring it at once."""
    api = Keepers(ready=True, marks={"mn-1": "old", "mn-2": "new"})
    assert waits.keepers(cast("KubernetesClient", api), "new").look().done
    (path, body) = api.patched[0]
    assert path == "/api/v1/namespaces/kube-system/pods/cilium-mn-1?fieldManager=isthmus"
    assert body == {"metadata": {"annotations": {"isthmus.dev/keeper-config-sha256": "new"}}}
    assert len(api.patched) == 1


@pytest.mark.parametrize(("ready", "mark"), [(False, "old"), (True, "new")])
def test_keepers_that_do_not_run_or_are_told_are_left_alone(ready: bool, mark: str) -> None:
    api = Keepers(ready=ready, marks={"mn-1": mark, "mn-2": mark})
    assert waits.keepers(cast("KubernetesClient", api), "new").look().done is ready
    assert api.patched == []


def test_what_the_waits_look_at_is_what_is_there(mn: Run) -> None:
    for wanted, name in (
        (waits.GUARDS, "isthmus-guard"),
        (waits.KEEPERS, "isthmus-keeper"),
        (waits.RELAYS, "isthmus-dns-relay"),
    ):
        there = mn.one(":DaemonSet", name).inputs
        assert (wanted.name, wanted.namespace) == (there["metadata"]["name"], there["metadata"]["namespace"])
        key, _, value = wanted.selector.partition("=")
        assert there["spec"]["selector"]["matchLabels"] == {key: value}


def test_what_is_gone_is_said_and_not_waited_for() -> None:
    """As in a `destroy --run-program` after one that was broken off: in an `up` it was made before the wait began."""
    client = mock.create_autospec(KubernetesClient, instance=True)
    client.get.return_value = None
    seen = waits.relays(client).look()
    assert seen == Seen(True, "gone", ("isthmus-dns-relay is not in the cluster any more, and was not waited for",))
    client.request.assert_not_called()
