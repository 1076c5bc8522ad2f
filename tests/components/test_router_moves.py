"""What is read of a cluster for its routers, and what is asked of its API."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from components.kubernetes_client import KubernetesClient, KubernetesError
from components.router_moves import policies_settled, routers_in_place, routers_now

POLICIES = "/apis/cilium.io/v2/ciliumegressgatewaypolicies"
ROUTER = "/apis/netbird.io/v1alpha1/namespaces/netbird/networkrouters/isthmus-mn"
AGENTS = "/api/v1/namespaces/netbird/pods?labelSelector=isthmus.dev%2Frouter-of%3Dmn"
GUARDS = "/api/v1/namespaces/kube-system/pods"
KEEPERS = "/api/v1/namespaces/kube-system/pods"
ROUTER_LABEL = {"isthmus.dev/router": "true"}
CILIUM_NODES = "/apis/cilium.io/v2/ciliumnodes"
KEEPERS_LISTED = f"{KEEPERS}?labelSelector=app.kubernetes.io%2Fname%3Disthmus-keeper"
GUARDS_LISTED = f"{GUARDS}?labelSelector=app.kubernetes.io%2Fname%3Disthmus-guard"


def pod(name: str, node: str | None, *, ready: bool = True, ends: bool = False) -> dict[str, Any]:
    metadata = {"name": name, **({"deletionTimestamp": "2026-01-02T03:04:05Z"} if ends else {})}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": metadata,
        "spec": {"nodeName": node} if node else {},
        "status": {"conditions": conditions},
    }


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": f"{name}.lan", **labels}}}


def policy(peer: str, *networks: str, **selector: str) -> dict[str, Any]:
    labels = {"isthmus.dev/router": "true", **selector}
    gateway = {"nodeSelector": {"matchLabels": labels}, "interface": "wt0"}
    return {
        "metadata": {"name": f"isthmus-to-{peer}"},
        "spec": {"destinationCIDRs": list(networks), "egressGateway": gateway},
    }


ROUTES = "STATE address=100.92.0.8 10.42.0.0/16=tunnel 10.62.0.0/16=none\n"


class Api:
    """The API server of a cluster whose router is mn-2."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.objects: dict[str, Any] = {
            "/api/v1/nodes": {"items": [node("mn-1"), node("mn-2", **{"isthmus.dev/router": "true"})]},
            AGENTS: {"items": [pod("r-1", "mn-2"), pod("r-2", None), pod("r-3", "mn-1", ends=True)]},
            POLICIES: {
                "items": [
                    policy("de", "10.42.0.0/16"),
                    policy("kz", "10.62.0.0/16", **{"kubernetes.io/hostname": "mn-2.lan"}),
                    {**policy("x"), "metadata": {"name": "somebody-s"}},
                ]
            },
            GUARDS_LISTED: {"items": [pod("g-1", "mn-1"), pod("g-2", "mn-2"), pod("g-3", "mn-3")]},
            f"{GUARDS}/g-1/log?container=guard&tailLines=20": "",
            f"{GUARDS}/g-2/log?container=guard&tailLines=20": ROUTES,
            KEEPERS_LISTED: {},
            ROUTER: {"spec": {"workloadOverride": {"replicas": 1}}},
        }

    def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Any:
        if method == "GET":
            return self.objects[path]
        self.asked.append((method, path, body))
        assert (content_type == "application/merge-patch+json") is (method == "PATCH")
        return {}

    def get(self, path: str) -> Any:
        return self.objects.get(path)

    def text(self, path: str) -> str:
        return cast("str", self.objects[path])

    @property
    def client(self) -> KubernetesClient:
        return cast("KubernetesClient", self)


def test_what_is_there() -> None:
    now, names = routers_now(Api().client, "mn", ["mn-1"])
    assert now.joined == {"mn-1", "mn-2"}
    assert now.labelled == {"mn-2"}
    assert now.agents == {"r-1": "mn-2"}
    assert now.ready == {"mn-2"}
    assert now.gateways == {"isthmus-to-de": None, "isthmus-to-kz": "mn-2"}
    assert now.routed == {"isthmus-to-de": {"mn-2"}, "isthmus-to-kz": set()}
    assert now.wanted_agents == 1
    assert names["mn-2"] == "mn-2.lan"


def test_cilium_goes_by_the_labels_of_its_own_nodes() -> None:
    api = Api()
    assert routers_now(api.client, "mn", ["mn-1"])[0].selectable == {"mn-2"}, "it keeps none yet"
    api.objects[CILIUM_NODES] = {"items": [node("mn-1", **ROUTER_LABEL), node("mn-2"), {"metadata": {"name": "mn-3"}}]}
    assert routers_now(api.client, "mn", ["mn-1"])[0].selectable == {"mn-1"}


def say(peers: dict[str, Any], *, in_order: bool = True) -> str:
    told = {name: {"good": True, **more} for name, more in peers.items()}
    return f"STATUS {json.dumps({'self_ok': in_order, 'peers': told})}"


@pytest.mark.parametrize(
    ("said", "carries"),
    [
        ({}, False),
        ({"de": {"tunnel": False}}, False),
        ({"de": {"tunnel": True}}, True),
        # A keeper of before says nothing of tunnels; one that says nothing of this peer does not hold it up.
        ({"de": {}}, True),
        ({"kz": {"tunnel": False}}, True),
    ],
)
def test_a_route_without_a_tunnel_carries_nothing(said: dict[str, Any], carries: bool) -> None:
    api = Api()
    # Of a new router: its keeper is not ready before it is told that it is one.
    api.objects[KEEPERS_LISTED] = {"items": [pod("k-2", "mn-2", ready=False), pod("k-9", "mn-1", ends=True)]}
    api.objects[f"{KEEPERS}/k-2/log?container=keeper&tailLines=200"] = say(said)
    now, _ = routers_now(api.client, "mn", ["mn-1"])
    assert now.routed["isthmus-to-de"] == ({"mn-2"} if carries else set())


def test_a_router_that_is_not_in_order_carries_nothing() -> None:
    api = Api()
    api.objects[KEEPERS_LISTED] = {"items": [pod("k-2", "mn-2", ready=False)]}
    for in_order in (False, True):
        log = say({"de": {"tunnel": True}}, in_order=in_order)
        api.objects[f"{KEEPERS}/k-2/log?container=keeper&tailLines=200"] = log
        now, _ = routers_now(api.client, "mn", ["mn-1"])
        assert now.routed["isthmus-to-de"] == ({"mn-2"} if in_order else set())


def test_a_router_whose_keeper_is_not_there_yet_carries_nothing() -> None:
    api = Api()
    api.objects[KEEPERS_LISTED] = {"items": [pod("k-1", "mn-1")]}
    api.objects[f"{KEEPERS}/k-1/log?container=keeper&tailLines=200"] = ""
    now, _ = routers_now(api.client, "mn", ["mn-1"])
    assert now.routed["isthmus-to-de"] == set()


def test_before_anything_is_there() -> None:
    api = Api()
    api.objects |= {POLICIES: None, ROUTER: None, AGENTS: {}, "/api/v1/nodes": {"items": [node("mn-1")]}}
    now, _ = routers_now(api.client, "mn", ["mn-1"])
    assert (now.gateways, now.agents, now.wanted_agents) == ({}, {}, None)
    assert routers_in_place(api.client, "mn", ["mn-1"]).look().done
    assert api.asked == [("PATCH", "/api/v1/nodes/mn-1?fieldManager=isthmus", {"metadata": {"labels": ROUTER_LABEL}})]


def pinned(peer: str, hostname: str) -> tuple[str, str, Any]:
    selector = {"matchLabels": {**ROUTER_LABEL, "kubernetes.io/hostname": hostname}}
    return (
        "PATCH",
        f"{POLICIES}/isthmus-to-{peer}?fieldManager=isthmus-keeper",
        {"spec": {"egressGateway": {"nodeSelector": selector}}},
    )


def test_a_router_that_moves() -> None:
    api = Api()
    wait = routers_in_place(api.client, "mn", ["mn-1"])
    assert not wait.look().done
    node_1, node_2 = (f"/api/v1/nodes/mn-{n}?fieldManager=isthmus" for n in (1, 2))
    scaled = {"spec": {"workloadOverride": {"replicas": 2}}}
    assert api.asked == [
        pinned("de", "mn-2.lan"),
        ("PATCH", node_1, {"metadata": {"labels": ROUTER_LABEL}}),
        ("PATCH", f"{ROUTER}?fieldManager=isthmus", scaled),
    ]
    api.asked.clear()
    api.objects["/api/v1/nodes"]["items"][0]["metadata"]["labels"] |= ROUTER_LABEL
    api.objects[ROUTER] = scaled
    api.objects[AGENTS]["items"].append(pod("r-4", "mn-1"))
    assert not wait.look().done
    assert api.asked == [], "mn-1 has no route yet"
    api.objects[f"{GUARDS}/g-1/log?container=guard&tailLines=20"] = ROUTES
    assert not wait.look().done
    assert api.asked == [
        pinned("de", "mn-1.lan"),
        pinned("kz", "mn-1.lan"),
        ("PATCH", node_2, {"metadata": {"labels": {"isthmus.dev/router": None}}}),
        ("DELETE", "/api/v1/namespaces/netbird/pods/r-1", None),
    ]


def test_every_policy_names_a_router_in_the_end() -> None:
    api = Api()
    assert policies_settled(api.client, "mn", ["mn-2"]).look().done
    assert api.asked == [pinned("de", "mn-2.lan")]


def test_a_kubelet_that_is_away_has_no_route_and_an_api_that_is_away_stops_the_look() -> None:
    class Silent(Api):
        status: int | None = 500

        def text(self, path: str) -> str:
            raise KubernetesError("dial tcp: connection refused", self.status)

    api = Silent()
    now, _ = routers_now(api.client, "mn", ["mn-1"])
    assert now.routed == {"isthmus-to-de": set(), "isthmus-to-kz": set()}
    api.status = None
    with pytest.raises(KubernetesError):
        routers_now(api.client, "mn", ["mn-1"])


@pytest.mark.parametrize(
    ("selector", "more"),
    [
        ({"matchLabels": {"kubernetes.io/hostname": "mn-2.lan"}}, {}),
        ({"matchLabels": {"isthmus.dev/router": "true", "kubernetes.io/hostname": "mn-2.lan", "a": "b"}}, {"a": None}),
        (
            {
                "matchLabels": {"isthmus.dev/router": "true", "kubernetes.io/hostname": "mn-2.lan"},
                "matchExpressions": [{"key": "a", "operator": "Exists"}],
            },
            {},
        ),
        ({}, {}),
    ],
)
def test_a_selector_that_somebody_has_changed_is_written_anew(selector: dict[str, Any], more: dict[str, None]) -> None:
    api = Api()
    changed = policy("de", "10.42.0.0/16")
    changed["spec"]["egressGateway"]["nodeSelector"] = selector
    api.objects[POLICIES]["items"][0] = api.objects[f"{POLICIES}/isthmus-to-de"] = changed
    assert policies_settled(api.client, "mn", ["mn-2"]).look().done
    ((_, _, body),) = [request for request in api.asked if "isthmus-to-de" in request[1]]
    written = body["spec"]["egressGateway"]["nodeSelector"]
    assert written["matchLabels"] == {**ROUTER_LABEL, "kubernetes.io/hostname": "mn-2.lan", **more}
    assert written.keys() - {"matchLabels"} == ({"matchExpressions"} if "matchExpressions" in selector else set())
    assert written.get("matchExpressions") is None
