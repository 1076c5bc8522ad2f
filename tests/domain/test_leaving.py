"""What a node that leaves has evicted, what answers mean, in which order several go, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from domain.leaving import (
    LEAVES_ANNOTATION,
    Part,
    Pod,
    Refusal,
    closing,
    eviction,
    is_away,
    leaving_order,
    nobody_makes_them_anew,
    not_evicted,
    opening,
    pods_of_node,
    refusal,
    stays_after_all,
    still_there,
)


def pod(name: str, owner: str | None = "ReplicaSet", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "shop", "name": name, **more.pop("metadata", {})}
    if owner:
        metadata["ownerReferences"] = [{"kind": "Secret"}, {"kind": owner, "controller": True}]
    return {"metadata": metadata, "status": {"phase": "Running"}, **more}


ENDS = {"deletionTimestamp": "2026-11-30T01:00:00Z"}


def test_which_pods_go() -> None:
    """Those of DaemonSets, mirror pods and those that have ended stay; emptyDir keeps none."""
    found = pods_of_node(
        {
            "items": [
                pod("web-1", spec={"volumes": [{"name": "cache", "emptyDir": {}}]}),
                pod("db-0", "StatefulSet"),
                pod("guard", "DaemonSet"),
                pod("etcd", None, metadata={"annotations": {"kubernetes.io/config.mirror": "1"}}),
                pod("job-1", "Job", status={"phase": "Succeeded"}),
                pod("job-2", "Job", status={"phase": "Failed"}),
                pod("old", metadata=ENDS),
                pod("starting", "Job", status={"phase": "Pending"}),
            ]
        }
    )
    assert [str(gone) for gone in found.go] == ["shop/db-0", "shop/old", "shop/starting", "shop/web-1"]
    assert [gone.name for gone in found.go if gone.ends] == ["old"]
    assert found.alone == ()
    assert pods_of_node({"items": None}).go == ()


def test_pods_that_nobody_makes_anew() -> None:
    """An owner that is no controller makes nothing; one that is ending already is lost anyway."""
    lone = pod("by-hand", None)
    owned = pod("owned", None, metadata={"ownerReferences": [{"kind": "Secret"}]})
    found = pods_of_node(
        {"items": [lone, owned, pod("going", None, metadata=ENDS), pod("done", None, status={"phase": "Succeeded"})]}
    )
    assert [lone.name for lone in found.alone] == ["by-hand", "owned"]
    said = nobody_makes_them_anew("de", "de-agent-2", found.alone)
    assert said == (
        "de: node de-agent-2 does not leave: no controller would make these of its pods anew elsewhere: shop/by-hand, "
        "shop/owned. Delete those that may go (`kubectl -n shop delete pod by-hand`), and run the same command again. "
        "Nothing was changed, and its machine stays"
    )


def test_what_is_posted() -> None:
    assert eviction(Pod("shop", "web-1", False)) == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "web-1", "namespace": "shop"},
    }


BUDGET = ("DisruptionBudget", "The disruption budget web needs 2 healthy pods and has 2 currently")


@pytest.mark.parametrize(
    ("status", "causes", "meant"),
    [
        (404, (), None),
        (429, (BUDGET,), Refusal(BUDGET[1], again=True)),
        (429, (), Refusal("said", again=True)),
        (409, (), Refusal("said", again=True)),
        (500, (), Refusal("said", again=True)),
        (503, (), Refusal("said", again=True)),
        (None, (), Refusal("said", again=True)),
        (403, (("NamespaceTerminating", "namespace shop is being terminated"),), Refusal("said", again=True)),
        (403, (), Refusal("said", again=False)),
        (401, (), Refusal("said", again=False)),
        (422, (), Refusal("said", again=False)),
    ],
)
def test_what_an_answer_means(status: int | None, causes: tuple[tuple[str, str], ...], meant: Refusal | None) -> None:
    assert refusal(status, "said.", causes) == meant


def node(*, unschedulable: bool = False, mark: bool = False, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": "de-agent-2", **({"annotations": {LEAVES_ANNOTATION: "true"}} if mark else {})},
        "spec": {"unschedulable": True} if unschedulable else {},
        "status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "Unknown"},
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-30T01:00:00Z"},
            ]
        },
    }


def test_closed_and_opened_again() -> None:
    closed = closing(node())
    assert closed == {"metadata": {"annotations": {LEAVES_ANNOTATION: "true"}}, "spec": {"unschedulable": True}}
    assert opening(node(unschedulable=True, mark=True)) == {
        "metadata": {"annotations": {LEAVES_ANNOTATION: None}},
        "spec": {"unschedulable": None},
    }


def test_what_a_person_closed_stays_closed() -> None:
    assert closing(node(unschedulable=True)) is None
    assert opening(node(unschedulable=True)) is None


def test_after_a_kill_our_own_mark_is_known() -> None:
    assert closing(node(unschedulable=True, mark=True)) is None
    assert opening(node(unschedulable=True, mark=True)) is not None


def test_one_that_stays_after_all_is_opened_again() -> None:
    """And no other: one that is to leave, one that a person closed, one that is none."""
    items = [node(unschedulable=True, mark=True), {**node(unschedulable=True), "metadata": {"name": "de-agent-1"}}]
    patch = opening(items[0])
    assert stays_after_all({"items": items}, ["de-agent-1", "de-agent-2", "de-agent-3"]) == {"de-agent-2": patch}
    assert stays_after_all({"items": items}, ["de-agent-1"]) == {}
    assert stays_after_all({"items": None}, ["de-agent-1"]) == {}


def test_a_node_that_is_away() -> None:
    assert is_away(node(ready="Unknown")) == "since 2026-11-30T01:00:00Z"
    assert is_away(node(ready="False")) is None, "its kubelet is there, and pods can end"
    assert is_away(node()) is None
    assert is_away({}) is None


def part(name: str, *, server: bool = False, router: bool = False) -> Part:
    return Part(name, server, router)


def test_who_stays_for_longer() -> None:
    order = leaving_order(
        [
            part("agent-1"), part("agent-2", router=True), part("agent-3"), part("agent-4", router=True),
            part("server-1", server=True), part("server-2", server=True, router=True), part("server-3", server=True),
        ]
    )  # fmt: skip
    assert order == {
        "server-2": (),
        "server-1": ("server-2",),
        "server-3": ("server-2", "server-1"),
        "agent-2": ("server-2", "server-1", "server-3"),
        "agent-4": ("server-2", "server-1", "server-3", "agent-2"),
        "agent-1": ("server-2", "server-1", "server-3", "agent-2", "agent-4"),
        "agent-3": ("server-2", "server-1", "server-3", "agent-2", "agent-4"),
    }
    assert list(order)[:2] == ["server-2", "server-1"], "a resource comes after those that it depends on"


def test_what_is_said_of_an_eviction_in_vain() -> None:
    web, slow = Pod("shop", "web-1", False), Pod("shop", "slow", True)
    refused = {web: Refusal(BUDGET[1], again=True)}
    text = not_evicted("de", "de-agent-2", 600, [slow, web], refused, reopened=True)
    assert text == (
        "de: node de-agent-2 does not leave: after 600 s these of its pods are still there: shop/slow (is ending), "
        "shop/web-1 (The disruption budget web needs 2 healthy pods and has 2 currently). The node is schedulable "
        "again, and its machine stays. Let the budgets allow it (`kubectl get pdb -A`), or give it more time by "
        "k3s.drain_seconds, and run the same command again"
    )
    assert "as schedulable as it was" in not_evicted("de", "n", 600, [web], refused, reopened=False)


def test_no_message_names_a_hundred_pods() -> None:
    pods = [Pod("shop", f"web-{number}", True) for number in range(12)]
    assert still_there(pods, {}).endswith("shop/web-9 (is ending) and 2 more")
    assert "and" not in still_there(pods[:10], {})
