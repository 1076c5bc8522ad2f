"""Which questions go out, from where to where, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lab.status import looking, probing
from lab.status.asking import MachineAnswer, Objects
from lab.status.looking import Pod, RouterNode, Seen
from lab.status.probing import Question
from lab.topology import DEFAULT


def pod(node: str, placement: Any, address: str, *, dns: bool = False, name: str = "kube-system/coredns") -> Pod:
    netns = f"/run/netns/cni-{address}"
    return Pod(name=name, node=node, placement=placement, netns=netns, address=address, serves_dns=dns)


def seen(name: str, router: str, other: str, wt0: str, *pods: Pod) -> Seen:
    return Seen(
        site=DEFAULT.site(name),
        objects=Objects(reachable=True),
        machines={router: True, other: True},
        routers=(RouterNode(node=router, node_ip="10.0.1.31", pod="networkrouter", wt0=wt0),),
        pods=pods,
        cilium_hosts={other: "10.42.0.1", router: "10.42.1.1"},
    )


DE = seen(
    *("de", "de-agent-1", "de-server-1", "100.77.0.1"),
    pod("de-server-1", "other", "10.42.0.9", name="netbird/operator"),
    pod("de-agent-1", "router", "10.42.1.5", dns=True),
)
MN = seen(
    *("mn", "mn-2", "mn-1", "100.77.0.2"),
    pod("mn-1", "other", "10.44.0.8", name="netbird/operator"),
    pod("mn-1", "other", "10.44.0.3", dns=True),
)


def asked(source: Seen = DE, target: Seen = MN) -> Sequence[Question]:
    return probing.questions(source, target, "isthmus-status-1")


def test_every_place_with_a_pod_asks_every_place_with_one_and_tcp_goes_where_something_listens() -> None:
    packets = [question for question in asked() if question.purpose == "packet"]
    assert [(question.id, question.node, question.address) for question in packets] == [
        ("de-mn.router-other.icmp", "de-agent-1", "10.44.0.3"),
        ("de-mn.router-other.tcp", "de-agent-1", "10.44.0.3"),
        ("de-mn.other-other.icmp", "de-server-1", "10.44.0.3"),
        ("de-mn.other-other.tcp", "de-server-1", "10.44.0.3"),
    ]
    back = [
        (question.do, question.node, question.address) for question in asked(MN, DE) if question.purpose == "packet"
    ]
    assert back == [
        ("icmp", "mn-2", "10.42.1.5"),
        ("tcp", "mn-2", "10.42.1.5"),
        ("icmp", "mn-2", "10.42.0.9"),
        ("icmp", "mn-1", "10.42.1.5"),
        ("tcp", "mn-1", "10.42.1.5"),
        ("icmp", "mn-1", "10.42.0.9"),
    ]
    assert all(question.request()["netns"].startswith("/run/netns/cni-10.42.") for question in packets)


def test_a_place_without_a_pod_is_said_and_what_stands_in_for_one() -> None:
    assert probing.not_probed(DE, MN) == ("mn has no pod on a router's node to ask.",)
    assert probing.not_probed(MN, DE) == (
        "mn has no pod on a router's node to ask from; in its place the node itself of mn-2 asks.",
    )
    bare = replace(DE, pods=DE.pods[1:])
    assert bare.source("other") is None
    assert probing.not_probed(bare, MN)[1:] == ("de has no pod on a node that is no router's to ask from.",)
    instead = "in its place Cilium's own address of de-server-1"
    assert probing.not_probed(MN, bare)[1:] == (
        f"de has no pod on a node that is no router's to ask; {instead} is asked.",
    )
    assert [
        question.address
        for question in asked(MN, bare)
        if question.to is not None and question.to.node == "de-server-1"
    ] == [*("10.42.0.1", "10.42.0.1")]


def test_a_name_of_the_peers_zone_is_asked_of_the_clusters_own_dns() -> None:
    (name,) = [question for question in asked() if question.purpose == "name"]
    assert (name.do, name.address, name.port, name.name) == ("dns", "10.43.0.10", 53, "isthmus-status-1.mn.internal")


def test_ports_that_must_be_shut_are_tried_from_router_to_router() -> None:
    ports = [question for question in asked() if question.purpose == "port"]
    assert [(question.node, question.pod, question.address, question.port) for question in ports] == [
        ("de-agent-1", None, "100.77.0.2", 22),
        ("de-agent-1", None, "100.77.0.2", 10250),
    ]
    assert ports[0].request()["netns"] == ""


def answers(**by_id: Mapping[str, Any]) -> dict[str, MachineAnswer]:
    given = {question.id: by_id.get(question.purpose, {"ok": True, "ms": 1.0, "said": ""}) for question in asked()}
    return dict.fromkeys(["de-agent-1", "de-server-1"], MachineAnswer(probes=given))


def test_what_came_back() -> None:
    good = probing.probes(asked(), answers())
    assert [probe.passed for probe in good] == [True] * 4
    assert {(probe.source_pod, probe.target_node) for probe in good} == {
        ("kube-system/coredns", "mn-1"),
        ("netbird/operator", "mn-1"),
    }
    (name,) = probing.name_probes(asked(), answers(name={"ok": True, "ms": 2.0, "said": "NXDOMAIN"}))
    assert (name.passed, name.said) == (True, "")
    (name,) = probing.name_probes(asked(), answers(name={"ok": False, "ms": 2.0, "said": "SERVFAIL"}))
    assert (name.passed, name.said) == (False, "SERVFAIL")


def test_a_machine_that_says_nothing_has_lost_its_probes() -> None:
    lost = probing.probes(asked(), {})
    assert [(probe.passed, probe.said) for probe in lost] == [(False, "the machine did not answer")] * 4


def test_a_port_is_open_when_anything_answers() -> None:
    def found(**answer: Any) -> tuple[int, ...] | None:
        return probing.open_ports(asked(), answers(port={"ms": 1.0, **answer}), "100.77.0.2")

    assert found(ok=True, said="") == (22, 10250)
    assert found(ok=False, said="refused") == (22, 10250)
    assert found(ok=False, said="no answer in 0.6 s") == ()
    assert found(ok=False, said="No route to host") == ()
    assert probing.open_ports(asked(), answers(), "100.77.0.9") is None


def test_the_steps_of_a_name() -> None:
    steps = probing.name_steps(DE, MN, "isthmus-status-1")
    assert [(step.node, step.address, step.port, step.step) for step in steps] == [
        ("de-agent-1", "10.0.1.31", 1053, "own relay"),
        ("de-agent-1", "100.77.0.2", 1053, "peer's relay"),
    ]
    given: dict[str, dict[str, Any]] = {
        steps[0].id: {"ok": True, "ms": 1, "said": ""},
        steps[1].id: {"ok": False, "ms": None, "said": ""},
    }
    found = probing.steps(steps, {"de-agent-1": MachineAnswer(probes=given)})
    assert found == {"own relay": True, "peer's relay": False}


# --- who is there -----------------------------------------------------------------------------------------------------


def object_of(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "kube-system", **more.pop("metadata", {})}, **more}


ROUTER = {
    "spec": {"nodeName": "de-agent-1", "hostNetwork": True, "containers": [{"name": "netbird"}]},
    "status": {"podIP": "10.0.1.31"},
}
OBJECTS = Objects(
    reachable=True,
    nodes=(
        object_of(
            "Node",
            "de-agent-1",
            metadata={"labels": {"isthmus.dev/router": "true"}},
            status={"addresses": [{"type": "InternalIP", "address": "10.0.1.31"}]},
        ),
        object_of("Node", "de-server-1", status={}),
    ),
    pods=(
        object_of("Pod", "networkrouter-1", **ROUTER),
        object_of("Pod", "coredns-1", spec={"containers": [{"name": "coredns"}]}, status={"podIP": "10.42.1.5"}),
        object_of(
            "Pod",
            "coredns-0",
            metadata={"deletionTimestamp": "2026-11-29T00:00:00Z"},
            spec={"containers": [{"name": "coredns"}]},
            status={"podIP": "10.42.1.4"},
        ),
    ),
)
SCANNED = {
    "de-agent-1": MachineAnswer(
        wt0="100.77.0.1",
        pods=[
            {"netns": "/run/netns/cni-a", "address": "10.42.1.5", "serves_dns": True},
            {"netns": "/run/netns/cni-b", "address": "10.42.1.4", "serves_dns": True},
        ],
    ),
    "de-server-1": MachineAnswer(pods=[{"netns": "/run/netns/cni-c", "address": "10.42.0.9", "serves_dns": False}]),
}


def test_pods_are_those_on_the_machines_that_the_api_knows_and_does_not_delete() -> None:
    routers = looking._routers(OBJECTS, SCANNED)
    assert routers == [RouterNode(node="de-agent-1", node_ip="10.0.1.31", pod="networkrouter-1", wt0="100.77.0.1")]
    found = looking._pods(OBJECTS, SCANNED, {"de-agent-1"})
    assert [(pod.name, pod.node, pod.placement) for pod in found] == [
        ("kube-system/coredns-1", "de-agent-1", "router"),
    ]


def test_without_an_api_all_pods_count_and_a_router_is_who_has_wt0() -> None:
    nothing = Objects(reachable=False)
    assert [router.node for router in looking._routers(nothing, SCANNED)] == ["de-agent-1"]
    found = looking._pods(nothing, SCANNED, {"de-agent-1"})
    assert [(pod.name, pod.address, pod.placement) for pod in found] == [
        ("", "10.42.1.5", "router"),
        ("", "10.42.1.4", "router"),
        ("", "10.42.0.9", "other"),
    ]


def test_a_labelled_node_without_a_pod_is_a_router_that_is_missing() -> None:
    bare = Objects(reachable=True, nodes=OBJECTS.nodes, pods=())
    assert looking._routers(bare, {}) == [RouterNode(node="de-agent-1", node_ip="10.0.1.31", pod="", wt0="")]
