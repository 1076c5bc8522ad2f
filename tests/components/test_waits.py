"""What the waits see in the cluster, by the API's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest

from components import waits
from components.kubernetes_client import KubernetesClient, KubernetesError
from components.waiting import Seen


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


# --- the route of a link ----------------------------------------------------------------------------------------------

WANTED = waits.RouteWanted(
    cluster="mn",
    peer="de",
    destinations=[IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")],
    routers=["mn-2"],
    peer_routers=[IPv4Address("100.92.0.7")],
    management_url="http://127.0.0.1:1",
)
GUARD = "isthmus-guard-x"
POLICY = {
    "metadata": {"annotations": {"isthmus.dev/source-addresses": "100.92.0.8"}},
    "spec": {"destinationCIDRs": ["10.42.0.0/16", "10.43.0.0/16"]},
}


class Api:
    """The API server as far as a link's wait asks it."""

    def __init__(
        self, log: str, *, policy: Mapping[str, Any] | None = None, ready: bool = True, nodes: Any = NODES
    ) -> None:
        self.log, self.policy, self.nodes = log, policy, nodes
        self.pods = {"items": [{**pod("mn-2", ready=ready), "metadata": {"name": GUARD}}]}

    def request(self, method: str, path: str) -> Any:
        if path == "/api/v1/nodes":
            return self.nodes
        if path.startswith(
            "/api/v1/namespaces/kube-system/pods?labelSelector=app.kubernetes.io%2Fname%3Disthmus-guard"
        ):
            return self.pods
        assert path == "/apis/cilium.io/v2/ciliumegressgatewaypolicies/isthmus-to-de", path
        if self.policy is None:
            raise KubernetesError("not found", 404)
        return self.policy

    def text(self, path: str) -> str:
        assert path.startswith(f"/api/v1/namespaces/kube-system/pods/{GUARD}/log?container=guard"), path
        return self.log


def route_seen(log: str, peers: Mapping[str, str] | None = None, **api: Any) -> Seen:
    client = cast("KubernetesClient", Api(log, **api))
    return waits.route(client, WANTED, peers or {"mn-2": "100.92.0.8"}, "nbp_secret_token").look()


CARRIES = "guard: x\nSTATE address=100.92.0.8 10.42.0.0/16=tunnel 10.43.0.0/16=tunnel 100.92.0.7/32=tunnel\n"
REFUSES = "STATE address=100.92.0.8 10.42.0.0/16=none 10.43.0.0/16=none 100.92.0.7/32=tunnel\n"


def test_a_route_by_the_tunnel() -> None:
    assert route_seen(CARRIES) == waits.RoutersSeen(True, "1 of 1 routers", routed=("mn-2",))


@pytest.mark.parametrize(
    ("log", "api", "state"),
    [
        (REFUSES, {}, "mn-2: no route to 10.42.0.0/16 by wt0"),
        (CARRIES + REFUSES, {}, "mn-2: no route to 10.42.0.0/16 by wt0"),
        (
            CARRIES.replace("10.43.0.0/16=tunnel", "10.43.0.0/16=none"),
            {},
            "mn-2: no route to 10.43.0.0/16 by wt0",
        ),
        (
            REFUSES.replace("=none", "=elsewhere"),
            {},
            "mn-2: the way to 10.42.0.0/16 leads by another interface than wt0",
        ),
        (REFUSES.replace("100.92.0.8", "", 1), {}, "mn-2: wt0 has no address"),
        ("", {}, "mn-2: the guard has said nothing yet"),
        (CARRIES, {"ready": False}, "mn-2: no guard runs there"),
        (CARRIES, {"nodes": {"items": [node("mn-2", "Unknown")]}}, "no router node is there"),
    ],
)
def test_no_route_and_no_policy(log: str, api: dict[str, Any], state: str) -> None:
    found = route_seen(log, **api)
    assert (found.done, found.state) == (False, state)


class TwoRouters(Api):
    """Likewise with routers on mn-1 and mn-2, each with its guard's log."""

    def __init__(self, logs: Mapping[str, str]) -> None:
        super().__init__("")
        self.logs = logs
        self.pods = {"items": [{**pod(name), "metadata": {"name": f"guard-of-{name}"}} for name in logs]}

    def text(self, path: str) -> str:
        name = path.removeprefix("/api/v1/namespaces/kube-system/pods/guard-of-").partition("/")[0]
        return self.logs[name]


TWO = replace(WANTED, routers=["mn-1", "mn-2"])
PEERS = {"mn-1": "100.92.0.9", "mn-2": "100.92.0.8"}


def test_of_two_routers_both_are_waited_for_and_then_one_is_enough() -> None:
    """The second one may stay away for longer than an `up` waits; it is named, with what is wrong in NetBird."""
    clock = iter([0.0, 30.0, waits.ALL_ROUTES_SECONDS])
    client = cast("KubernetesClient", TwoRouters({"mn-1": REFUSES, "mn-2": CARRIES}))
    wait = waits.route(client, TWO, PEERS, "nbp_secret_token", now=lambda: next(clock))
    first, second = wait.look(), wait.look()
    assert (first.done, first.state) == (False, "mn-1: no route to 10.42.0.0/16 by wt0")
    assert second.done
    (note,) = second.notes
    assert note.startswith(
        "not all routers have their route to de: mn-1: no route to 10.42.0.0/16 by wt0. NetBird can't"
    )


def test_of_two_routers_that_have_no_route_one_is_not_enough() -> None:
    clock = iter([0.0, 10 * waits.ALL_ROUTES_SECONDS])
    client = cast("KubernetesClient", TwoRouters({"mn-1": REFUSES, "mn-2": REFUSES}))
    assert not waits.route(client, TWO, PEERS, "nbp_secret_token", now=lambda: next(clock)).look().done


def test_both_of_two_routers_have_their_route() -> None:
    client = cast("KubernetesClient", TwoRouters({"mn-1": CARRIES, "mn-2": CARRIES}))
    found = waits.route(client, TWO, PEERS, "nbp_secret_token").look()
    assert (found.done, found.state, found.notes) == (True, "2 of 2 routers", ())


def test_a_policy_that_is_in_place_is_not_held_back_by_a_peer_that_is_away() -> None:
    found = route_seen(REFUSES, policy=POLICY)
    assert found.done
    (note,) = found.notes
    assert note.startswith("the link to de is not seen to have its route: mn-2: no route")
    assert "NetBird can't be asked why" in note
    assert "nbp_secret" not in note


def test_a_kubelet_that_is_away_says_nothing_of_the_route() -> None:
    """The API can't read the guard's log; the link may carry all the same."""

    class Silent(Api):
        def text(self, path: str) -> str:
            raise KubernetesError("dial tcp 192.168.7.12:10250: connection refused", 500)

    def look(policy: Any) -> Seen:
        client = cast("KubernetesClient", Silent("", policy=policy))
        return waits.route(client, WANTED, {"mn-2": "100.92.0.8"}, "nbp_secret_token").look()

    assert not look(None).done
    found = look(POLICY)
    assert found.done
    assert "mn-2: what its guard sees can't be read (dial tcp" in found.notes[0]


def test_a_policy_for_other_addresses_waits() -> None:
    """Cilium has to look at an address that is there."""
    assert not route_seen(REFUSES, policy=POLICY, peers={"mn-2": "100.92.0.9"}).done
    other = {**POLICY, "spec": {"destinationCIDRs": ["10.62.0.0/16"]}}
    assert not route_seen(REFUSES, policy=other).done


def test_the_reason_is_part_of_what_a_wait_in_vain_says() -> None:
    wait = waits.route(cast("KubernetesClient", Api(REFUSES)), WANTED, {"mn-2": "100.92.0.8"}, "nbp_secret_token")
    assert "NetBird can't be asked why" in wait.why(Seen(False, ""))


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
