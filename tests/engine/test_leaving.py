"""Nodes that leave a cluster, with the real engine, the real API server with its controllers, and machines to log in
to: evicted within their budgets, before the Node goes, before the machine does. And a cluster that goes as a whole,
from which nobody is evicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from domain.leaving import LEAVES_ANNOTATION
from tests.engine.conftest import is_empty, names
from tests.engine.kube_api import Json, until
from tests.engine.machine import Machine
from tests.engine.project import Engine
from tests.engine.sites import at_hetzner, on_machines
from tests.engine.world import World

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(1800)]

AGENT: Final = {"name": "mn-3", "address": "192.168.7.13", "role": "agent", "router": False}
DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS: Final = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
PODS: Final = "/api/v1/namespaces/default/pods"
LABELS: Final = {"app": "web"}
DRAIN_SECONDS: Final = 30
"""The least that the setting takes."""
BLOCKED: Final = (
    f"does not leave: after {DRAIN_SECONDS} s these of its pods are still there: default/web-",
    "(The disruption budget web needs 1 healthy pods and has 1 currently). The node is schedulable again, and its",
)


def settings(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    """The stack file with a change."""
    file = world.project.directory / f"Pulumi.{world.stack}.yaml"
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(written["config"])
    world.project.write_text(world.stack, yaml.safe_dump(written))


def run_web(world: World, node: str) -> None:
    """A pod with emptyDir on that node, and a budget that lets nobody evict it."""
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [{"name": "web", "image": "registry.example/web:1"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
    }
    template = {"metadata": {"labels": LABELS}, "spec": spec}
    body = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template}
    world.api.post(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": body})
    world.api.post(
        BUDGETS, {"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}}
    )
    until(lambda: web(world), "the pod runs")
    until(lambda: world.api.get(f"{BUDGETS}/web")["status"]["currentHealthy"] == 1, "the budget counts it")


def web(world: World) -> list[str]:
    """The uids of the pods that run."""
    return [pod["metadata"]["uid"] for pod in world.api.items(PODS) if pod["status"].get("phase") == "Running"]


def node(world: World, name: str) -> Json:
    found: Json = world.api.get(f"/api/v1/nodes/{name}")
    return found


def members(world: World) -> set[str]:
    return {
        resource["id"] for resource in world.project.resources(world.stack) if resource["type"].endswith(":NodeMember")
    }


@contextmanager
def mn(engine: Engine, directory: Path) -> Iterator[tuple[World, list[Machine]]]:
    """With a third machine, and raised."""
    with on_machines(engine, directory, [AGENT]) as (world, machines):
        settings(world, lambda config: config["isthmus:k3s"].update(drain_seconds=DRAIN_SECONDS))
        world.up()
        yield world, machines


def out(config: dict[str, Any]) -> None:
    config["isthmus:on_premise"]["machines"].pop()


def test_an_agent_leaves_and_joins_again_under_its_name(engine: Engine, tmp_path: Path) -> None:
    with mn(engine, tmp_path) as (world, machines):
        assert members(world) == {"mn-1", "mn-2", "mn-3"}
        assert '"kubeconfig": "apiVersion' not in world.project.state_text("mn")
        run_web(world, "mn-3")
        others = [node(world, name)["metadata"]["uid"] for name in ("mn-1", "mn-2")]
        kept: dict[str, Any] = {}
        settings(world, lambda config: kept.update(config["isthmus:on_premise"]["machines"][-1]))
        settings(world, out)

        refused = world.up(code=1)

        for text in BLOCKED:
            refused.says(text)
        assert not node(world, "mn-3")["spec"].get("unschedulable")
        assert LEAVES_ANNOTATION not in node(world, "mn-3")["metadata"].get("annotations", {})
        assert machines[2].runs() == {"k3s-agent.service"}
        (before,) = web(world)

        world.api.delete(f"{BUDGETS}/web")
        world.up().says("mn: node mn-3 has left")

        assert world.api.is_gone("/api/v1/nodes/mn-3")
        assert before not in web(world)
        assert (machines[2].left(), machines[2].runs()) == (set(), set())
        assert [node(world, name)["metadata"]["uid"] for name in ("mn-1", "mn-2")] == others
        assert members(world) == {"mn-1", "mn-2"}

        world.kubelet.join("mn-3")
        settings(world, lambda config: config["isthmus:on_premise"]["machines"].append(kept))
        world.up()

        assert machines[2].runs() == {"k3s-agent.service"}
        assert members(world) == {"mn-1", "mn-2", "mn-3"}
        until(lambda: web(world), "its pod runs there again")

        world.api.post(
            BUDGETS, {"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}}
        )
        pods = web(world)
        world.destroy()
        assert web(world) == pods, "a destroy evicts nobody"
        assert [machine.runs() for machine in machines] == [set(), set(), set()]


def killed_while_it_leaves(world: World) -> None:
    """An `up` that takes mn-3 out, until a budget holds it."""
    running = world.project.start("up", "-s", "mn", "--yes", "--skip-preview")
    running.wait_for(lambda: "node mn-3 leaves (" in running.said, "it waits for the budget", 300)
    running.kill()
    assert node(world, "mn-3")["spec"]["unschedulable"]
    world.project.run("cancel", "-s", "mn", "--yes")


def test_killed_while_it_leaves(engine: Engine, tmp_path: Path) -> None:
    """The next `up` goes on, or opens the node where its machine is to stay: it knows that this program closed it."""
    with mn(engine, tmp_path) as (world, machines):
        run_web(world, "mn-3")
        kept: dict[str, Any] = {}
        settings(world, lambda config: kept.update(config["isthmus:on_premise"]["machines"][-1]))
        settings(world, out)
        killed_while_it_leaves(world)

        settings(world, lambda config: config["isthmus:on_premise"]["machines"].append(kept))
        world.up().says("mn: node mn-3 was to leave and stays; it is schedulable again")
        assert not node(world, "mn-3")["spec"].get("unschedulable")
        assert members(world) == {"mn-1", "mn-2", "mn-3"}

        settings(world, out)
        killed_while_it_leaves(world)
        world.up(code=1).says("The node is schedulable again")
        assert not node(world, "mn-3")["spec"].get("unschedulable")

        world.api.delete(f"{BUDGETS}/web")
        world.up().says("mn: node mn-3 has left")
        assert (machines[2].left(), machines[2].runs()) == (set(), set())


POOL: Final = {"server_type": "cx33", "addresses": "10.0.1.64/28", "count": 1, "labels": {"workload": "db"}}


@pytest.mark.parametrize(
    ("changes", "out", "leaves"),
    [
        ({"hetzner.workers.count": 2}, lambda hetzner: hetzner["workers"].update(count=1), "de-agent-2"),
        ({"hetzner.pools": {"db": POOL}}, lambda hetzner: hetzner.pop("pools"), "de-db-1"),
    ],
    ids=["a worker", "a pool"],
)
def test_at_hetzner(
    engine: Engine, tmp_path: Path, changes: dict[str, Any], out: Callable[[dict[str, Any]], None], leaves: str
) -> None:
    with at_hetzner(engine, tmp_path, {**changes, "k3s.drain_seconds": DRAIN_SECONDS}) as (world, hetzner):
        settings(world, lambda config: config["isthmus:k3s"].update(drain_seconds=DRAIN_SECONDS))
        world.up()
        if "db" in leaves:
            assert node(world, leaves)["metadata"]["labels"]["workload"] == "db"
        run_web(world, leaves)
        settings(world, lambda config: out(config["isthmus:hetzner"]))

        refused = world.up(code=1)

        for text in BLOCKED:
            refused.says(text)
        assert leaves in names(hetzner)["servers"]

        world.api.delete(f"{BUDGETS}/web")
        world.up().says(f"de: node {leaves} has left")
        assert names(hetzner)["servers"] == ["de-agent-1", "de-server-1"]
        assert world.api.is_gone(f"/api/v1/nodes/{leaves}")

        world.destroy()
        assert is_empty(hetzner)


def test_a_worker_at_hetzner_is_made_anew(engine: Engine, tmp_path: Path) -> None:
    """By one number: its pods go first, its server keeps id and addresses, and nobody else is touched."""
    changes = {"k3s.drain_seconds": DRAIN_SECONDS}
    with at_hetzner(engine, tmp_path, changes) as (world, hetzner):
        settings(world, lambda config: config["isthmus:k3s"].update(drain_seconds=DRAIN_SECONDS))
        world.up()
        run_web(world, "de-agent-1")
        uids = {name: node(world, name)["metadata"]["uid"] for name in ("de-server-1", "de-agent-1")}
        (pod,) = web(world)
        before = {server["name"]: server for server in hetzner.call("GET", "/servers").json()["servers"]}
        machines = dict(hetzner.backend.machines)
        settings(world, lambda config: config["isthmus:hetzner"].update(generations={"de-agent-1": 2}))

        refused = world.up(code=1)

        refused.says("does not leave")
        assert hetzner.backend.machines == machines
        assert not node(world, "de-agent-1")["spec"].get("unschedulable")

        world.api.delete(f"{BUDGETS}/web")
        hetzner.order({"action": "rebuild_server", "message": "no such luck"})
        half = world.up(code=1)

        half.says("de: node de-agent-1 has left")
        half.says("de: node de-agent-1 has left and its machine could not be made anew")
        half.says("no such luck")
        assert world.api.is_gone("/api/v1/nodes/de-agent-1")

        done = world.up()

        done.says("de: node de-agent-1 is back after")
        after = {server["name"]: server for server in hetzner.call("GET", "/servers").json()["servers"]}
        assert after == before
        assert hetzner.backend.machines["de-agent-1"] is not machines["de-agent-1"]
        assert hetzner.backend.machines["de-server-1"] is machines["de-server-1"]
        assert node(world, "de-server-1")["metadata"]["uid"] == uids["de-server-1"]
        assert node(world, "de-agent-1")["metadata"]["uid"] != uids["de-agent-1"]
        until(lambda: web(world), "its pod runs there again")
        assert web(world) != [pod]
        world.project.preview(world.stack, "--expect-no-changes")

        settings(
            world, lambda config: config["isthmus:hetzner"].update(generations={"de-server-1": 2, "de-agent-1": 2})
        )
        world.up(code=1).says("it is the only server, and the data is on it")
