"""A node leaves: what is asked of the API, in which order, by which server, and when it stays instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from components import node_leaving
from components.kubernetes_client import KubernetesError
from components.node_leaving import ANSWER_SECONDS, GONE_SECONDS, Clock, Departure, NotLeftError, forget, leave
from domain.leaving import LEAVES_ANNOTATION
from tests.components.recording import KUBECONFIG

ADDRESSES: Final = ("198.51.100.1", "198.51.100.2")
NODE: Final = "/api/v1/nodes/de-agent-2"
PODS: Final = "/api/v1/pods?fieldSelector=spec.nodeName%3Dde-agent-2"
CAUSE: Final = ("DisruptionBudget", "The disruption budget web needs 1 healthy pods and has 1 currently")


def pod(name: str, owner: str | None = "ReplicaSet") -> dict[str, Any]:
    owners = [{"kind": owner, "controller": True}] if owner else []
    return {"metadata": {"namespace": "shop", "name": name, "ownerReferences": owners}, "status": {"phase": "Running"}}


class Cluster:
    """One API behind two servers, with one Node. Time passes by sleeping alone.

    ``budget`` are pods that are refused until that time, ``stays`` is how long the Node outlasts its deletion.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *pods: dict[str, Any]) -> None:
        self.time = 0.0
        self.asked: list[str] = []
        self.said: list[str] = []
        self.away: set[str] = set()
        self.fails: Callable[[str, str], KubernetesError | None] = lambda _method, _path: None
        self.budget: dict[str, float] = {}
        self.stays = 0.0
        self.pods = list(pods)
        self.gone_at: float | None = None
        self.node: dict[str, Any] | None = {
            "metadata": {"name": "de-agent-2", "uid": "u1"},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        cluster = self

        class Client:
            def __init__(self, kubeconfig: str) -> None:
                (self.address,) = [address for address in ADDRESSES if f"https://{address}:6443" in kubeconfig]

            def request(self, method: str, path: str, *, body: Any = None, content_type: str) -> dict[str, Any]:
                assert content_type == ("application/merge-patch+json" if method == "PATCH" else "application/json")
                return cluster.answer(self.address, method, path, body)

        monkeypatch.setattr(node_leaving, "KubernetesClient", Client)
        monkeypatch.setattr(
            node_leaving, "why_unreachable", lambda address, _port: "no answer" if address in self.away else None
        )

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def answer(self, address: str, method: str, path: str, body: Any) -> dict[str, Any]:
        if address in self.away:
            raise KubernetesError("reset")
        if (error := self.fails(method, path)) is not None:
            raise error
        self.asked.append(f"{method} {path}")
        if path.endswith("/eviction"):
            name = path.split("/")[-2]
            assert body["metadata"]["name"] == name
            if self.time < self.budget.get(name, 0):
                raise KubernetesError("429 Cannot evict pod", 429, [CAUSE])
            self.pods = [other for other in self.pods if other["metadata"]["name"] != name]
            return {}
        if path == PODS:
            return {"items": self.pods}
        assert path == NODE
        if self.gone_at is not None and self.time >= self.gone_at:
            self.node = None
        if self.node is None:
            raise KubernetesError("404 not found", 404)
        if method == "DELETE":
            assert body == {"preconditions": {"uid": self.node["metadata"]["uid"]}}
            self.node["metadata"]["deletionTimestamp"] = "now"
            self.gone_at = self.time + self.stays
        if method == "PATCH":
            self.node = {
                **self.node,
                "metadata": {**self.node["metadata"], "annotations": body["metadata"]["annotations"]},
                "spec": body["spec"],
            }
        return self.node

    @property
    def closed(self) -> bool:
        assert self.node is not None
        return bool(self.node["spec"].get("unschedulable"))

    def leave(self, *, server: bool = False, seconds: float = 600) -> Cluster:
        departure = Departure("de", "de-agent-2", server, ADDRESSES, seconds, KUBECONFIG)
        leave(departure, self.said.append, Clock(lambda: self.time, self.sleep))
        return self

    def stays_with(self, *, server: bool = False, seconds: float = 600) -> str:
        with pytest.raises(NotLeftError) as raised:
            self.leave(server=server, seconds=seconds)
        return str(raised.value)


def test_cordoned_then_evicted_then_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"), pod("guard", "DaemonSet")).leave()
    evict = "POST /api/v1/namespaces/shop/pods/web-1/eviction"
    assert cluster.asked == [
        *(f"GET {NODE}", f"GET {PODS}", f"PATCH {NODE}", f"GET {PODS}", evict, f"GET {PODS}"),
        *(f"GET {NODE}", f"DELETE {NODE}", f"GET {NODE}"),
    ]
    assert [left["metadata"]["name"] for left in cluster.pods] == ["guard"]
    assert cluster.said[-1] == "de: node de-agent-2 has left"


def test_a_node_that_is_none_any_more_is_only_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.node = None
    assert cluster.leave().said == []


def test_a_budget_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    cluster.budget = {"web-1": 30.0}
    cluster.leave()
    assert cluster.node is None
    waited = [text for text in cluster.said if "of 600 s" in text]
    assert waited[0] == f"de: node de-agent-2 leaves (0 of 600 s): 1 of its pods are there: shop/web-1 ({CAUSE[1]})"
    assert 3 <= len(waited) <= 5, "as often as something is new, and every ten seconds"


def test_a_budget_that_never_allows_it_opens_the_node_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    cluster.budget = {"web-1": 10_000.0}
    text = cluster.stays_with(seconds=90)
    assert (
        f"after 90 s these of its pods are still there: shop/web-1 ({CAUSE[1]}). The node is schedulable again" in text
    )
    assert not cluster.closed
    assert f"DELETE {NODE}" not in cluster.asked
    cluster.budget = {}
    assert cluster.leave().node is None, "and then it goes through"


def test_what_a_person_closed_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    assert cluster.node is not None
    cluster.node["spec"] = {"unschedulable": True}
    cluster.budget = {"web-1": 10_000.0}
    assert "as schedulable as it was" in cluster.stays_with()
    assert cluster.closed
    assert not [request for request in cluster.asked if request.startswith("PATCH")]


def test_after_a_kill_in_the_middle_it_is_opened_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    assert cluster.node is not None
    cluster.node["spec"] = {"unschedulable": True}
    cluster.node["metadata"]["annotations"] = {LEAVES_ANNOTATION: "true"}
    cluster.budget = {"web-1": 10_000.0}
    assert "The node is schedulable again" in cluster.stays_with()
    assert not cluster.closed


def test_a_pod_without_a_controller_keeps_it_and_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"), pod("by-hand", None))
    assert "shop/by-hand. Delete those that may go" in cluster.stays_with()
    assert cluster.asked == [f"GET {NODE}", f"GET {PODS}"]


def test_an_eviction_that_is_forbidden_is_not_tried_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    cluster.fails = lambda _, path: KubernetesError("403 no", 403) if path.endswith("/eviction") else None
    assert "shop/web-1 (403 no)" in cluster.stays_with()
    assert cluster.time == 0.0
    assert not cluster.closed


def test_of_a_node_that_is_away_nothing_is_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    assert cluster.node is not None
    cluster.node["status"]["conditions"][0].update(status="Unknown", lastTransitionTime="2026-11-30T01:00:00Z")
    cluster.leave()
    assert cluster.asked == [f"GET {NODE}", f"GET {NODE}", f"DELETE {NODE}", f"GET {NODE}"]
    assert "away since 2026-11-30T01:00:00Z; its pods are not evicted" in cluster.said[0]


def test_one_that_is_being_deleted_is_only_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    assert cluster.node is not None
    cluster.node["metadata"]["deletionTimestamp"] = "now"
    cluster.gone_at = 20.0
    cluster.leave()
    assert {request.partition(" ")[0] for request in cluster.asked} == {"GET"}


def test_a_member_that_etcd_does_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.stays = GONE_SECONDS * 2
    text = cluster.stays_with(server=True)
    assert f"{GONE_SECONDS:.0f} s after its deletion its Node is still there" in text
    cluster.leave(server=True)
    assert cluster.node is None, "and the next time it goes through"


def test_of_a_machine_that_is_off_the_node_goes_and_nothing_is_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was taken out of etcd and has joined again before it was switched off."""
    cluster = Cluster(monkeypatch, pod("web-1"))
    departure = Departure("de", "de-agent-2", True, ADDRESSES, 600, KUBECONFIG)
    for _ in range(2):
        forget(departure, cluster.said.append, Clock(lambda: cluster.time, cluster.sleep))
    assert cluster.asked == [f"GET {NODE}", f"GET {NODE}", f"DELETE {NODE}", f"GET {NODE}", f"GET {NODE}"]
    cluster.away = set(ADDRESSES)
    with pytest.raises(NotLeftError, match=r"does not leave: .*no answer"):
        forget(departure, cluster.said.append, Clock(lambda: cluster.time, cluster.sleep))


def test_another_of_its_name_is_not_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that joins anew the moment after has another uid."""
    cluster = Cluster(monkeypatch)

    def joins(method: str, _: str) -> None:
        if method == "GET" and cluster.node is not None and "deletionTimestamp" in cluster.node["metadata"]:
            cluster.gone_at = None
            cluster.node = {"metadata": {"name": "de-agent-2", "uid": "u2"}, "spec": {}}

    cluster.stays, cluster.fails = 1000.0, joins
    cluster.leave()
    assert cluster.node is not None
    assert cluster.node["metadata"]["uid"] == "u2"


def test_another_server_is_asked_when_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))

    def goes(method: str, _: str) -> None:
        if method == "PATCH":
            cluster.away = {ADDRESSES[0]}

    cluster.fails = goes
    cluster.leave()
    assert cluster.node is None


def test_an_agent_whose_cluster_is_away_leaves_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    cluster.away = set(ADDRESSES)
    cluster.leave()
    assert cluster.said[-1] == (
        "warning: de: node de-agent-2 leaves without its pods being evicted, since no server answers (198.51.100.1: no "
        "answer; 198.51.100.2: no answer). Where the cluster runs on, delete its Node: `kubectl delete node de-agent-2`"
    )
    assert ANSWER_SECONDS <= cluster.time < ANSWER_SECONDS + 10
    assert cluster.asked == []


def test_a_server_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.away = set(ADDRESSES)
    text = cluster.stays_with(server=True)
    assert "no server answers (198.51.100.1: no answer; 198.51.100.2: no answer)" in text
    assert "take the resource de-agent-2-member out of the state" in text


def test_a_cluster_that_comes_back_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.fails = lambda *_: KubernetesError("503 no leader", 503) if cluster.time < 20 else None
    cluster.leave(server=True)
    assert cluster.node is None
    assert cluster.said[0].startswith("de: node de-agent-2 leaves (0 of 60 s): no server answers (198.51.100.1: 503")


def test_an_api_that_goes_in_the_middle_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pod("web-1"))
    cluster.budget = {"web-1": 60.0}
    cluster.fails = lambda *_: KubernetesError("503 no leader", 503) if 10 < cluster.time < 90 else None
    cluster.leave()
    assert cluster.node is None


def test_who_has_no_right_hears_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.fails = lambda method, _: KubernetesError("403 no", 403) if method == "PATCH" else None
    assert "does not leave: 403 no. Its machine stays" in cluster.stays_with()
    assert cluster.time == 0.0


def test_the_kubeconfig_is_in_no_repr() -> None:
    assert "c2VjcmV0" not in repr(Departure("de", "n", False, ADDRESSES, 600, KUBECONFIG))
