"""Nodes on machines of one's own that are made anew by a number, with the real engine, the real API server, and
machines to log in to: k3s and its data go, the machine and all other nodes stay. There are no members of etcd here; the
lab has those.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from domain.leaving import LEAVES_ANNOTATION
from tests.domain.samples import MN
from tests.engine.kube_api import Refused, until
from tests.engine.machine import OF_THE_TESTS, Machine
from tests.engine.project import Engine
from tests.engine.sites import VERSION, on_machines, release
from tests.engine.test_leaving import AGENT, BUDGETS, DRAIN_SECONDS, node, run_web, settings, web
from tests.engine.world import World

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

NEWER: Final = "v1.34.10+k3s1"
DISK: Final = "/var/lib/rancher/k3s/word-of-this-disk"
SERVERS: Final = [
    {"name": "mn-3", "address": "192.168.7.13", "role": "server"},
    {"name": "mn-4", "address": "192.168.7.14", "role": "server"},
]


@contextmanager
def mn(
    engine: Engine, directory: Path, further: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[World, dict[str, Machine]]]:
    """Raised, with further machines. Their nodes register as k3s does it: when it is started and there is none."""
    with on_machines(engine, directory, further) as (world, machines):
        names = [machine["name"] for machine in (*MN["isthmus:on_premise"]["machines"], *further)]
        by_name = dict(zip(names, machines, strict=True))
        with registering(world, by_name):
            settings(world, lambda config: config["isthmus:k3s"].update(drain_seconds=DRAIN_SECONDS))
            world.up()
            yield world, by_name


@contextmanager
def registering(world: World, machines: Mapping[str, Machine]) -> Iterator[None]:
    ended = threading.Event()
    known: dict[str, dict[str, int]] = {}

    def work() -> None:
        while not ended.wait(0.2):
            for name, machine in machines.items():
                with contextlib.suppress(OSError, Refused, http.client.HTTPException):
                    started = machine.started() if machine.is_on else {}
                    if not world.api.is_gone(f"/api/v1/nodes/{name}"):
                        known[name] = started
                    elif started and started != known.get(name):
                        world.kubelet.join(name)

    thread = threading.Thread(target=work, name="k3s registers")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def number(world: World, **generations: int) -> None:
    """The numbers of these machines, by their names with an underscore."""

    def write(config: dict[str, Any]) -> None:
        for machine in config["isthmus:on_premise"]["machines"]:
            machine["generation"] = generations.get(machine["name"].replace("-", "_"), machine.get("generation", 1))

    settings(world, write)


def noted(world: World) -> dict[str, int]:
    """The numbers in the state."""
    found = (
        resource for resource in world.project.resources(world.stack) if resource["type"].endswith(":NodeGeneration")
    )
    return {resource["outputs"]["node"]: int(resource["outputs"]["generation"]) for resource in found}


def as_they_are(world: World, machines: Mapping[str, Machine]) -> dict[str, tuple[str, str, dict[str, int]]]:
    """Of each node what another one has otherwise: its uid, the word on its disk, when k3s was started."""
    return {
        name: (node(world, name)["metadata"]["uid"], machine.text(DISK), machine.started())
        for name, machine in machines.items()
    }


def test_an_agent_is_made_anew(engine: Engine, tmp_path: Path) -> None:
    with mn(engine, tmp_path, [AGENT]) as (world, machines):
        run_web(world, "mn-3")
        before = as_they_are(world, machines)
        password = machines["mn-3"].text("/etc/rancher/node/password")
        (pod,) = web(world)
        world.api.delete(f"{BUDGETS}/web")
        # Whoever has the binary needs no mirror.
        (tmp_path / "charts" / "k3s" / VERSION / "k3s").unlink()
        number(world, mn_3=2)

        done = world.up()

        for text in ("mn: node mn-3 has left", "mn-3: uninstall-k3s: k3s is gone", "mn: node mn-3 is back after"):
            done.says(text)
        after = as_they_are(world, machines)
        assert {name for name in after if after[name] == before[name]} == {"mn-1", "mn-2"}
        assert all(new != old for new, old in zip(after["mn-3"], before["mn-3"], strict=True))
        assert machines["mn-3"].text("/etc/rancher/node/password") == password
        assert not node(world, "mn-3")["spec"].get("unschedulable")
        until(lambda: web(world), "its pod runs there again")
        assert web(world) != [pod]
        assert noted(world) == {"mn-1": 1, "mn-2": 1, "mn-3": 2}
        world.project.preview(world.stack, "--expect-no-changes")


@pytest.mark.thorough
def test_the_first_of_three_servers_is_made_anew_with_another_k3s(engine: Engine, tmp_path: Path) -> None:
    """All get the new k3s first, where they are; then the first one leaves by the others, and joins them."""
    with mn(engine, tmp_path, SERVERS) as (world, machines):
        before = as_they_are(world, machines)
        begun = {name: machine.text(f"{OF_THE_TESTS}/begun") for name, machine in machines.items()}
        assert begun == {**dict.fromkeys(machines, ""), "mn-1": "k3s.service\n"}
        checksum = release(tmp_path, NEWER)
        settings(world, lambda config: config["isthmus:k3s"].update(version=NEWER, sha256=checksum))
        number(world, mn_1=2, mn_2=2)

        done = world.up()

        said = [done.output.index(f"mn: node {name} is back after") for name in ("mn-1", "mn-2")]
        assert said == sorted(said), "servers go first"
        after = as_they_are(world, machines)
        assert {name for name in after if after[name][:2] == before[name][:2]} == {"mn-3", "mn-4"}
        assert {name for name in after if after[name][2] != before[name][2]} == set(machines)
        assert {name: machine.text(f"{OF_THE_TESTS}/begun") for name, machine in machines.items()} == begun

        def runs_it() -> bool:
            return all(node(world, machine)["status"]["nodeInfo"]["kubeletVersion"] == NEWER for machine in machines)

        until(runs_it, "all say that they run it")
        assert noted(world) == {"mn-1": 2, "mn-2": 2, "mn-3": 1, "mn-4": 1}
        world.project.preview(world.stack, "--expect-no-changes")


def killed(world: World, word: str) -> None:
    """An `up`, until it has said that."""
    running = world.project.start("up", "-s", "mn", "--yes", "--skip-preview")
    running.wait_for(lambda: word in running.said, word, 300)
    running.kill()
    world.project.run("cancel", "-s", "mn", "--yes")


@pytest.mark.thorough
def test_killed_in_the_middle(engine: Engine, tmp_path: Path) -> None:
    """The next `up` begins with that node again, and only with that."""
    with mn(engine, tmp_path, [AGENT]) as (world, machines):
        run_web(world, "mn-3")
        number(world, mn_3=2)
        killed(world, "node mn-3 leaves (")
        assert node(world, "mn-3")["spec"]["unschedulable"]

        number(world, mn_3=1)
        world.up().says("mn: node mn-3 was to leave and stays; it is schedulable again")
        assert LEAVES_ANNOTATION not in node(world, "mn-3")["metadata"].get("annotations", {})

        world.api.delete(f"{BUDGETS}/web")
        others = {name: found for name, found in as_they_are(world, machines).items() if name != "mn-3"}
        for generation, word in enumerate(("uninstall-k3s: stopping", "install-k3s: starting"), 2):
            disk = machines["mn-3"].text(DISK)
            number(world, mn_3=generation)
            killed(world, f"mn-3: {word}")
            assert noted(world)["mn-3"] == generation - 1

            world.up().says("mn: node mn-3 is back after")

            assert machines["mn-3"].text(DISK) not in ("", disk)
            assert noted(world) == {"mn-1": 1, "mn-2": 1, "mn-3": generation}
        assert {name: found for name, found in as_they_are(world, machines).items() if name != "mn-3"} == others
        assert not any(item["spec"].get("unschedulable") for item in world.api.items("/api/v1/nodes"))

        machines["mn-3"].stop()
        number(world, mn_3=4)
        away = world.up(code=1)
        away.says("mn: node mn-3 is not made anew: ssh: connect to host 192.168.7.13 port 22: Connection refused")
        away.says("Nothing was changed")
        assert not node(world, "mn-3")["spec"].get("unschedulable")


@pytest.mark.thorough
def test_a_state_of_a_program_that_knew_no_generations(engine: Engine, tmp_path: Path) -> None:
    """It takes them in and does nothing, but for a number that is raised."""
    with mn(engine, tmp_path, [AGENT]) as (world, machines):
        before = as_they_are(world, machines)
        forget_generations(world, tmp_path / "before.json")

        world.up()

        assert as_they_are(world, machines) == before
        assert noted(world) == {"mn-1": 1, "mn-2": 1, "mn-3": 1}
        forget_generations(world, tmp_path / "before.json")
        number(world, mn_3=2)

        world.up().says("mn: node mn-3 is back after")

        after = as_they_are(world, machines)
        assert {name for name in after if after[name] == before[name]} == {"mn-1", "mn-2"}
        assert noted(world) == {"mn-1": 1, "mn-2": 1, "mn-3": 2}


def forget_generations(world: World, file: Path) -> None:
    state: dict[str, Any] = json.loads(world.project.state_text("mn"))["checkpoint"]["latest"]
    row = [found["urn"] for found in state["resources"] if found["type"].endswith(":NodeGeneration")]
    assert len(row) == 3
    state["resources"] = [found for found in state["resources"] if found["urn"] not in row]
    for resource in state["resources"]:
        # What is in the cluster comes after some of them.
        resource["dependencies"] = [urn for urn in resource.get("dependencies") or [] if urn not in row]
    file.write_text(json.dumps({"version": 3, "deployment": state}), encoding="utf-8")
    world.project.run("stack", "import", "-s", "mn", "--file", str(file)).expect(0)
    assert noted(world) == {}
