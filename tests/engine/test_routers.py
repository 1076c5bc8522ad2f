"""Routers of a cluster that runs: a second one comes and goes, and the only one moves, each by one `up`.

Engine, API server, controllers and the operator's stand-in are at work; agents are played (``world.py``). All the while
somebody looks whether the egress policy leads to a node with the label, also for Cilium, an agent that is ready and a
tunnel.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
import yaml

from tests.engine.deadlines import shorter
from tests.engine.kube_api import Refused, until
from tests.engine.project import Engine, steps
from tests.engine.world import STACK, World

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

ADDRESSES: Final = {"worker-a": "192.168.7.11", "worker-b": "192.168.7.12"}
EGRESS: Final = "/apis/cilium.io/v2/ciliumegressgatewaypolicies/isthmus-to-de"
ROUTER: Final = "/apis/netbird.io/v1alpha1/namespaces/netbird/networkrouters/isthmus-mn"
AGENTS: Final = "/api/v1/namespaces/netbird/pods?labelSelector=isthmus.dev%2Frouter-of%3Dmn"
LABEL: Final = "isthmus.dev/router"


@pytest.fixture(scope="module")
def raised(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Mn with two nodes, of which worker-b is the router. The other one comes first by name, as Cilium counts."""
    with ExitStack() as stack:
        world = World(engine, tmp_path_factory.mktemp("world"), stack, {"worker-a": ADDRESSES["worker-a"]})
        write(world, "worker-b")
        world.up()
        yield world


def write(world: World, *routers: str) -> None:
    """The stack file says that these nodes are routers."""
    file = world.project.directory / f"Pulumi.{STACK}.yaml"
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    machines = [{"name": name, "address": address, "router": name in routers} for name, address in ADDRESSES.items()]
    written["config"]["isthmus:on_premise"]["machines"] = machines
    world.project.write_text(STACK, yaml.safe_dump(written))


def planned(world: World) -> set[tuple[str, str]]:
    """What a preview says is made, deleted or replaced."""
    return {
        (step.op, f"{step.type.rpartition(':')[2]} {step.name}")
        for step in steps(world.project.preview(STACK))
        if step.op not in ("same", "read", "update")
    }


def several(op: str) -> set[tuple[str, str]]:
    """What is there beside several routers only."""
    return {(op, "ConfigMap isthmus-dns-relay-front"), (op, "DaemonSet isthmus-dns-relay-front")}


def labelled(world: World) -> set[str]:
    nodes = world.api.items("/api/v1/nodes")
    return {node["metadata"]["name"] for node in nodes if node["metadata"].get("labels", {}).get(LABEL) == "true"}


def agents(world: World) -> set[str]:
    """Nodes with an agent that is ready and stays."""
    return {
        pod["spec"]["nodeName"]
        for pod in world.api.items(AGENTS)
        if "deletionTimestamp" not in pod["metadata"]
        and any(condition["type"] == "Ready" for condition in pod["status"].get("conditions") or [])
    }


def gateway(world: World) -> str | None:
    """The node that the policy names."""
    labels = world.api.get(EGRESS)["spec"]["egressGateway"]["nodeSelector"]["matchLabels"]
    assert labels[LABEL] == "true"
    return str(labels["kubernetes.io/hostname"]) if "kubernetes.io/hostname" in labels else None


def peers(world: World) -> dict[str, tuple[str, bool]]:
    """The routers in NetBird by address: what they are called, and whether they are connected."""
    return {peer["ip"]: (peer["name"], peer["connected"]) for peer in world.netbird.all("/peers")}


def outputs(world: World) -> dict[str, Any]:
    shown = world.project.run("stack", "output", "-s", STACK, "--json").expect(0)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


@contextlib.contextmanager
def watched(world: World) -> Iterator[list[str]]:
    """Moments at which the policy led to no router that works."""
    faults: list[str] = []
    looks = 0
    ended = threading.Event()

    def look() -> None:
        nonlocal looks
        while not ended.wait(0.05):
            with contextlib.suppress(OSError, Refused, http.client.HTTPException):
                before = gateway(world)
                labels, there = labelled(world), agents(world)
                tunnels, known = world.tunnels, world.known_to_cilium
                # What it named all the while.
                if before == gateway(world):
                    looks += 1
                    chosen = before or min(labels)
                    if chosen not in labels & there & tunnels & known:
                        found = {"label": labels, "Cilium": known, "agents": there, "tunnels": tunnels}
                        faults.append(f"it leads to {chosen}; {found}")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield faults
    finally:
        ended.set()
        thread.join()
    assert looks > 20


def moved(world: World, *routers: str) -> set[tuple[str, str]]:
    """One `up` to these routers; afterwards all is as the settings say, and there is nothing left to do."""
    uid = world.api.get(ROUTER)["metadata"]["uid"]
    write(world, *routers)
    plan = planned(world)
    with watched(world) as faults:
        world.up()
    assert faults == []
    assert world.api.get(ROUTER)["metadata"]["uid"] == uid
    assert world.api.get(ROUTER)["spec"]["workloadOverride"]["replicas"] == len(routers)
    until(lambda: agents(world) == {*routers}, "the agents are where the label is")
    assert labelled(world) == {*routers}
    assert gateway(world) in routers
    found = outputs(world)
    assert found["router_peers"].keys() == {*routers}
    assert {router["node"]: router["peer_ip"] for router in found["link"]["routers"]} == found["router_peers"]
    assert {address for address, (_, connected) in peers(world).items() if connected} == {
        *found["router_peers"].values()
    }
    assert len(peers(world)) == len(routers), "no peer is left over"
    world.project.run("preview", "-s", STACK, "--refresh", "--expect-no-changes").expect(0)
    return plan


def test_a_second_router_comes_and_goes_and_the_only_one_moves(raised: World) -> None:
    world = raised
    first = outputs(world)["router_peers"]["worker-b"]
    assert gateway(world) == "worker-b"
    assert peers(world) == {first: ("isthmus-mn-router-worker-b", True)}

    assert moved(world, "worker-a", "worker-b") == {("create", "NodePatch node-labels-worker-a"), *several("create")}
    both = outputs(world)["router_peers"]
    assert both["worker-b"] == first, "it keeps its identity"
    assert peers(world)[both["worker-a"]] == ("isthmus-mn-router-worker-a", True)
    assert gateway(world) == "worker-b", "nothing was taken from it"

    assert moved(world, "worker-b") == {("delete", "NodePatch node-labels-worker-a"), *several("delete")}
    assert peers(world) == {first: ("isthmus-mn-router-worker-b", True)}

    assert moved(world, "worker-a") == {
        ("create", "NodePatch node-labels-worker-a"),
        ("delete", "NodePatch node-labels-worker-b"),
    }
    assert outputs(world)["router_peers"]["worker-a"] != first


@pytest.mark.thorough
def test_an_agent_that_finds_no_way_takes_nothing_from_the_router_that_goes(raised: World) -> None:
    """The `up` ends in vain, another one is killed, the link goes on, and the next one completes."""
    world = raised
    (before,) = outputs(world)["router_peers"]
    other = next(name for name in ADDRESSES if name != before)
    write(world, other)
    world.unrouted.add(other)
    said = f"{other} does not reach every peer yet; until then {before} goes on"
    with watched(world) as faults:
        with shorter(world.project, {"MOVE_SECONDS": 25.0}):
            late = world.up(code=1)
        late.says("waited 25 s for the routers of mn to take their places, in vain")
        late.says(said)
        running = world.project.start("up", "-s", STACK, "--yes", "--skip-preview")
        running.wait_for(lambda: said in running.said, said)
        assert gateway(world) == before
        running.kill()
    assert faults == []
    world.unrouted.clear()
    world.project.run("cancel", "-s", STACK, "--yes").expect(0)
    moved(world, other)
