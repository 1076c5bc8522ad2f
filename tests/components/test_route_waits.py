"""NetBird's route on the routers: what is waited for, and what is said in vain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest

from components import route_waits
from components.kubernetes_client import KubernetesClient, KubernetesError
from components.waiting import Seen
from tests.components.test_waits import NODES, node, pod

WANTED = route_waits.RouteWanted(
    cluster="mn",
    peer="de",
    destinations=[IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")],
    routers=["mn-2"],
    peer_routers=[IPv4Address("100.92.0.7")],
)
URL = "http://127.0.0.1:1"
GUARD = "isthmus-guard-x"
KEEPER = "isthmus-keeper-x"
POLICY = {
    "metadata": {"annotations": {"isthmus.dev/source-addresses": "100.92.0.8"}},
    "spec": {"destinationCIDRs": ["10.42.0.0/16", "10.43.0.0/16"]},
}


class Api:
    """The API server as far as a link's wait asks it."""

    def __init__(
        self,
        log: str,
        *,
        policy: Mapping[str, Any] | None = None,
        ready: bool = True,
        nodes: Any = NODES,
        keeper: str = "",
    ) -> None:
        self.log, self.policy, self.nodes, self.keeper = log, policy, nodes, keeper
        self.pods = {"items": [{**pod("mn-2", ready=ready), "metadata": {"name": GUARD}}]}

    def request(self, method: str, path: str) -> Any:
        if path == "/api/v1/nodes":
            return self.nodes
        if path.startswith(
            "/api/v1/namespaces/kube-system/pods?labelSelector=app.kubernetes.io%2Fname%3Disthmus-guard"
        ):
            return self.pods
        if path.startswith(
            "/api/v1/namespaces/kube-system/pods?labelSelector=app.kubernetes.io%2Fname%3Disthmus-keeper"
        ):
            return {"items": [{**pod("mn-2"), "metadata": {"name": KEEPER}}]}
        assert path == "/apis/cilium.io/v2/ciliumegressgatewaypolicies/isthmus-to-de", path
        if self.policy is None:
            raise KubernetesError("not found", 404)
        return self.policy

    def text(self, path: str) -> str:
        if path.startswith(f"/api/v1/namespaces/kube-system/pods/{KEEPER}/log?container=keeper"):
            return self.keeper
        assert path.startswith(f"/api/v1/namespaces/kube-system/pods/{GUARD}/log?container=guard"), path
        return self.log


def route_seen(log: str, peers: Mapping[str, str] | None = None, **api: Any) -> Seen:
    client = cast("KubernetesClient", Api(log, **api))
    return route_waits.route(client, WANTED, peers or {"mn-2": "100.92.0.8"}, URL, "nbp_secret_token").look()


CARRIES = "guard: x\nSTATE address=100.92.0.8 10.42.0.0/16=tunnel 10.43.0.0/16=tunnel 100.92.0.7/32=tunnel\n"
REFUSES = "STATE address=100.92.0.8 10.42.0.0/16=none 10.43.0.0/16=none 100.92.0.7/32=tunnel\n"


def test_a_route_by_the_tunnel() -> None:
    assert route_seen(CARRIES) == route_waits.RoutersSeen(True, "1 of 1 routers", routed=("mn-2",))


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
    clock = iter([0.0, 30.0, route_waits.ALL_ROUTES_SECONDS])
    client = cast("KubernetesClient", TwoRouters({"mn-1": REFUSES, "mn-2": CARRIES}))
    wait = route_waits.route(client, TWO, PEERS, URL, "nbp_secret_token", now=lambda: next(clock))
    first, second = wait.look(), wait.look()
    assert (first.done, first.state) == (False, "mn-1: no route to 10.42.0.0/16 by wt0")
    assert second.done
    (note,) = second.notes
    assert note.startswith(
        "not all routers have their route to de: mn-1: no route to 10.42.0.0/16 by wt0. NetBird can't"
    )


def test_of_two_routers_that_have_no_route_one_is_not_enough() -> None:
    clock = iter([0.0, 10 * route_waits.ALL_ROUTES_SECONDS])
    client = cast("KubernetesClient", TwoRouters({"mn-1": REFUSES, "mn-2": REFUSES}))
    assert not route_waits.route(client, TWO, PEERS, URL, "nbp_secret_token", now=lambda: next(clock)).look().done


def test_both_of_two_routers_have_their_route() -> None:
    client = cast("KubernetesClient", TwoRouters({"mn-1": CARRIES, "mn-2": CARRIES}))
    found = route_waits.route(client, TWO, PEERS, URL, "nbp_secret_token").look()
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
        return route_waits.route(client, WANTED, {"mn-2": "100.92.0.8"}, URL, "nbp_secret_token").look()

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
    wait = route_waits.route(
        cast("KubernetesClient", Api(REFUSES)), WANTED, {"mn-2": "100.92.0.8"}, URL, "nbp_secret_token"
    )
    assert wait.why(Seen(False, "")).startswith("NetBird can't be asked why")


def test_the_keepers_words_come_first() -> None:
    status = '{"self_ok": true, "peers": {"de": {"good": false, "reason": "no answer of de-agent-1"}}}'
    api = cast("KubernetesClient", Api(REFUSES, keeper=f"STATUS {status}\n"))
    wait = route_waits.route(api, WANTED, {"mn-2": "100.92.0.8"}, URL, "nbp_secret_token")
    said = wait.why(Seen(False, ""))
    assert said.startswith("the keeper says: mn-2: no answer of de-agent-1. NetBird can't be asked why")
