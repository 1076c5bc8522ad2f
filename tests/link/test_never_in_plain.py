"""A packet for the peer leaves by the tunnel or is refused at once: in every fault that takes the tunnel away.

Pods on the router and on another node try all the while, in both directions. The wires are watched in every link test
(conftest.py); here it is also seen that the watch sees, and that clients hear of a refusal at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab import machines
from lab.commands import wait_until
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.project import Tools
from lab.reporting import Silent
from lab.status import NETBIRD_NAMESPACE, router_pods
from lab.topology import DEFAULT
from lab.verify.checks import World
from lab.verify.run import world_of
from lab.verify.workload import PLACEMENTS, PORT, Placement
from tests.link.assertions import in_health
from tests.link.breaking import LabToBreak
from tests.link.changing import policy_body
from tests.link.from_power_on import ROUNDS_BEFORE_GUARD, sending
from tests.link.underlay import Underlay

pytestmark = pytest.mark.link

HEALTHY_SECONDS = 150.0
ATTEMPT_SECONDS = 3.0
AT_ONCE_SECONDS = 1.0
"""Of a refusal, on a machine that runs two clusters besides."""
TOLD_SECONDS = 60.0
"""Until the first refusal: NetBird's agents hear of a change, pods end."""
FAULT_SECONDS = 8.0
"""So long it lasts; for half of it at least all are refused."""
Way = tuple[str, Placement]


@dataclass
class Traffic:
    """Connections from every probe pod to the other cluster, one after the other, for as long as it goes on."""

    world: World
    tried: list[tuple[float, Way, dict[str, Any]]] = field(default_factory=list)
    """When it was begun, by whom, and what came of it: with the milliseconds that it took in the pod itself."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def go_on(self, way: Way) -> None:
        target = next(site.name for site in DEFAULT.sites if site.name != way[0])
        address = self.world.probes[target].pod("other").address
        while not self.stopped.is_set():
            begun = time.monotonic()
            answer = self.world.sessions[way].ask("tcp", address=address, port=PORT, seconds=ATTEMPT_SECONDS)
            self.tried.append((begun, way, answer))
            time.sleep(0.1)

    def since(self, moment: float) -> list[tuple[Way, dict[str, Any]]]:
        return [(way, answer) for begun, way, answer in list(self.tried) if begun >= moment]

    def refused(self, ways: Collection[Way], since: float) -> bool:
        """Whether of all that has ended and was begun since then the last attempt of each was refused at once."""
        last = dict(self.since(since))
        return last.keys() >= set(ways) and all(at_once(last[way]) for way in ways)


@pytest.fixture(scope="module")
def world(tools: Tools) -> Iterator[World]:
    with world_of(DEFAULT, tools, Silent()) as made:
        yield made


@pytest.fixture(scope="module")
def traffic(world: World) -> Iterator[Traffic]:
    made = Traffic(world)
    with ThreadPoolExecutor(max_workers=len(world.sessions)) as pool:
        for way in world.sessions:
            pool.submit(made.go_on, way)
        yield made
        made.stopped.set()


class Lab(LabToBreak):
    """What a fault is made with."""

    def delete_pods(self, name: str, namespace: str, *arguments: str) -> None:
        self.clusters[name].kubectl("delete", "pod", "-n", namespace, "--wait=false", *arguments, deadline_seconds=60)

    def new_agent(self, name: str) -> None:
        for pod in router_pods(self.clusters[name]):
            self.delete_pods(name, NETBIRD_NAMESPACE, pod["metadata"]["name"])

    def policy(self, name: str, *, enabled: bool) -> None:
        (whole,) = [item for item in self.netbird.list("policies") if item["name"] == name]
        self.netbird.call("PUT", f"/api/policies/{whole['id']}", policy_body(whole, enabled=enabled))


@pytest.fixture
def lab(tools: Tools, clusters: Mapping[str, Cluster], netbird: NetBirdApi, world: World) -> Iterator[Lab]:
    yield Lab(tools, clusters, netbird, world)
    in_health(DEFAULT, tools, within_seconds=HEALTHY_SECONDS)


def disable_policy(lab: Lab) -> Callable[[], object]:
    lab.policy("isthmus-de-to-mn-pods", enabled=False)
    return lambda: lab.policy("isthmus-de-to-mn-pods", enabled=True)


def flush_routes(lab: Lab) -> Callable[[], object]:
    lab.on_router("de", "ip", "-4", "route", "flush", "table", "7120")
    return lambda: lab.new_agent("de")


def interface_down(lab: Lab) -> Callable[[], object]:
    """The keeper frozen: it sets the interface up again within a second or two."""
    keeper = ("-f", "[k]eeper.pyz")
    lab.on_router("de", "pkill", "--signal", "STOP", *keeper)
    lab.on_router("de", "ip", "link", "set", "wt0", "down")

    def back() -> None:
        lab.on_router("de", "pkill", "--signal", "CONT", *keeper)
        lab.new_agent("de")

    return back


def interface_away(lab: Lab) -> Callable[[], object]:
    """The agent frozen: within a second it would make its interface anew, and what goes there before its tunnel carries
    again is lost.
    """
    lab.on_router("mn", "pkill", "--signal", "STOP", "-x", "netbird")
    lab.on_router("mn", "ip", "link", "delete", "wt0")

    def back() -> None:
        lab.on_router("mn", "pkill", "--signal", "CONT", "-x", "netbird")
        lab.new_agent("mn")

    return back


def agents_away(lab: Lab) -> Callable[[], object]:
    """The router's Deployment at zero, the operator kept from putting it back."""
    cluster, operator = lab.clusters["de"], "isthmus-netbird-operator"
    router = "networkrouter-isthmus-de"
    cluster.kubectl("scale", "-n", NETBIRD_NAMESPACE, "deployment", operator, "--replicas=0")
    cluster.kubectl("scale", "-n", NETBIRD_NAMESPACE, "deployment", router, "--replicas=0")

    def back() -> None:
        cluster.kubectl("scale", "-n", NETBIRD_NAMESPACE, "deployment", router, "--replicas=1")
        cluster.kubectl("scale", "-n", NETBIRD_NAMESPACE, "deployment", operator, "--replicas=1")

    return back


def guard_and_route_away(lab: Lab) -> Callable[[], object]:
    """What a guard has laid outlasts it."""
    lab.delete_pods("de", "kube-system", "-l", "app.kubernetes.io/name=isthmus-guard")
    lab.on_router("de", "ip", "-4", "route", "flush", "table", "7120")
    return lambda: lab.new_agent("de")


def egress_policy_away(lab: Lab) -> Callable[[], object]:
    cluster = lab.clusters["de"]
    policies = cluster.get("ciliumegressgatewaypolicies")
    (policy,) = [candidate for candidate in policies if candidate["metadata"]["name"] == "isthmus-to-mn"]
    cluster.kubectl("delete", "ciliumegressgatewaypolicy", "isthmus-to-mn")
    for key in ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"):
        policy["metadata"].pop(key, None)
    return lambda: cluster.apply([policy])


ROUTE_GONE = [
    disable_policy,
    pytest.param(flush_routes, marks=pytest.mark.thorough),
    pytest.param(interface_down, marks=pytest.mark.thorough),
    pytest.param(interface_away, marks=pytest.mark.thorough),
    agents_away,
    guard_and_route_away,
    pytest.param(egress_policy_away, marks=pytest.mark.thorough),
]


@pytest.mark.parametrize("fault", ROUTE_GONE)
def test_without_a_route_packets_are_refused_at_once(
    fault: Callable[[Lab], Callable[[], object]], lab: Lab, traffic: Traffic
) -> None:
    source = "mn" if fault is interface_away else "de"
    # The router's own pods need no policy; those of the other node are not led to it.
    places: tuple[Placement, ...] = ("other",) if fault is egress_policy_away else PLACEMENTS
    ways = [(source, place) for place in places]
    begun = time.monotonic()
    undo = fault(lab)
    made = time.monotonic()
    try:
        # An agent has to hear of it, or to end. What is under way then may be lost.
        wait_until(
            lambda: traffic.refused(ways, begun),
            what=f"{source}'s pods are refused at once",
            deadline_seconds=TOLD_SECONDS,
            state=lambda: str(traffic.tried[-12:]),
        )
        refused = time.monotonic()
        time.sleep(max(FAULT_SECONDS / 2, made + FAULT_SECONDS - refused))
        tried = [attempt for attempt in traffic.since(refused) if attempt[0] in ways]
    finally:
        undo()
    assert {way for way, _ in tried} == set(ways), traffic.tried[-12:]
    assert [attempt for attempt in tried if not at_once(attempt[1])] == []


def at_once(answer: Mapping[str, Any]) -> bool:
    """Whether it is a refusal, and one that nobody had to wait for."""
    return not answer.get("ok") and answer.get("ms", math.inf) <= AT_ONCE_SECONDS * 1000


@pytest.mark.thorough
@pytest.mark.parametrize("graceful", [True, False])
@pytest.mark.parametrize("place", ["router", "other"])
@pytest.mark.parametrize("name", ["de", "mn"])
def test_a_reboot(name: str, place: Placement, graceful: bool, lab: Lab, underlay: Underlay) -> None:
    """From the first moment of the machine on, whatever starts first."""
    node = lab.world.probes[name].pod(place).node
    before = len(underlay.seen)
    with sending(name, node) as sender:
        machines.reboot(node, graceful=graceful)
        assert sender.rounds_before_guard() > ROUNDS_BEFORE_GUARD
        in_health(DEFAULT, lab.tools, within_seconds=2 * HEALTHY_SECONDS)
    assert underlay.seen[before:] == []


def test_the_watch_sees(lab: Lab, underlay: Underlay) -> None:
    """A packet in plain, sent on purpose from the machine's own network past all that guards it."""
    node, target = lab.router("de"), str(DEFAULT.site("mn").ranges.pods[9])
    before = len(underlay.seen)
    rule = ["priority", "50", "to", f"{target}/32", "lookup", "main"]
    machines.exec(node, ["ip", "rule", "add", *rule], check=True)
    try:
        send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{target}', 9))"
        machines.exec(node, ["python3", "-c", send])
        wait_until(lambda: len(underlay.seen) > before, what="the packet is seen", deadline_seconds=5.0)
    finally:
        machines.exec(node, ["ip", "rule", "delete", *rule], check=True)
    assert all(f"> {target}" in line for line in underlay.seen[before:])
    # Those were meant to be there.
    del underlay.seen[before:]
