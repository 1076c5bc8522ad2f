"""Nodes on machines of one's own that go on to another k3s, or take other settings of it, with the real engine, the
real API server and machines to log in to: the binary is on all of them first, then they go one after the other, and
what fails stops the rest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.engine.kube_api import until
from tests.engine.machine import Machine
from tests.engine.project import Engine
from tests.engine.sites import VERSION, release
from tests.engine.test_anew import mn
from tests.engine.test_leaving import AGENT, BUDGETS, DRAIN_SECONDS, node, run_web, settings, web
from tests.engine.world import World

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(1800)]

ORDER: Final = ("mn-1", "mn-3", "mn-2")
"""mn-2 carries the link."""
PATCH: Final = "v1.34.10+k3s1"
MINOR: Final = "v1.35.0+k3s1"


def to(world: World, **k3s: Any) -> None:
    settings(world, lambda config: config["isthmus:k3s"].update(k3s))


def versions(world: World) -> list[str]:
    return [(node(world, name)["status"].get("nodeInfo") or {}).get("kubeletVersion", "") for name in ORDER]


def closed(world: World) -> list[str]:
    return [name for name in ORDER if node(world, name)["spec"].get("unschedulable")]


def started(machines: dict[str, Machine], names: Sequence[str] = ORDER) -> list[int]:
    """When k3s was started on each."""
    return [max(machines[name].started().values()) for name in names]


def restarts(machines: dict[str, Machine]) -> list[int]:
    """How often it was to be started anew on each."""
    return [len(machines[name].restarts()) for name in ORDER]


def of_before(world: World, file: Path) -> None:
    """The state as a program left it that had one command for all on a machine."""
    state: dict[str, Any] = json.loads(world.project.state_text(world.stack))["checkpoint"]["latest"]
    installs = [found for found in state["resources"] if "install-k3s" in str(found.get("inputs", {}).get("update"))]
    assert len(installs) == len(ORDER)
    for command in installs:
        for kept in (command["inputs"], command["outputs"]):
            kept["update"] = kept["create"]
    rows = [found for found in state["resources"] if found["type"].endswith(":NodeGeneration")]
    assert len(rows) == len(ORDER)
    for row in rows:
        for kept in (row["inputs"], row["outputs"], row["propertyDependencies"]):
            kept.pop("laid", None)
    file.write_text(json.dumps({"version": 3, "deployment": state}), encoding="utf-8")
    world.project.run("stack", "import", "-s", world.stack, "--file", str(file)).expect(0)


def test_one_after_the_other_and_the_next_up_goes_on_where_it_stopped(engine: Engine, tmp_path: Path) -> None:
    with mn(engine, tmp_path, [AGENT]) as (world, machines):
        until(lambda: versions(world) == [VERSION] * 3, "every kubelet says its version")
        run_web(world, "mn-3")
        (pod,) = web(world)
        before = started(machines)

        of_before(world, tmp_path / "before.json")
        noted = world.up()

        assert "mn: node" not in noted.output, "all have their k3s and its settings"
        assert (started(machines), closed(world)) == (before, [])
        world.project.preview(world.stack, "--expect-no-changes")

        to(world, version=PATCH, sha256="0" * 64)
        release(tmp_path, PATCH)
        refused = world.up(code=1)

        refused.says(f"mn: no node goes on to k3s {PATCH}, since it is not on all machines: ")
        for name in ORDER:
            refused.says(f"{name}: install-k3s: the checksum of")
        assert (started(machines), versions(world), closed(world)) == (before, [VERSION] * 3, [])

        to(world, sha256=release(tmp_path / "again", PATCH))
        machines["mn-2"].breaks()
        world.up(code=1).says(f"mn: node mn-2 has not gone on to k3s {PATCH}: ")

        assert (versions(world), closed(world), web(world)) == ([PATCH, PATCH, VERSION], ["mn-2"], [pod])
        once = started(machines, ORDER[:2])
        machines["mn-2"].breaks(broken=False)
        world.up()

        assert (versions(world), closed(world), web(world)) == ([PATCH] * 3, [], [pod])
        assert started(machines) == sorted(started(machines)), "servers first, the router last"
        assert (started(machines, ORDER[:2]), min(once) > max(before)) == (once, True)
        world.project.preview(world.stack, "--expect-no-changes")

        count = restarts(machines)
        to(world, agent_config={"kubelet-arg": ["max-pods=200"]})
        world.up().says("mn: node mn-3 has taken its settings of k3s")

        assert restarts(machines) == [count[0], count[1] + 1, count[2] + 1]
        assert (closed(world), web(world)) == ([], [pod])

        to(world, version=MINOR, sha256=release(tmp_path, MINOR))
        blocked = world.up(code=1)

        blocked.says(f"mn: node mn-3 does not go on to k3s {MINOR}: after {DRAIN_SECONDS} s these of its pods")
        assert (versions(world), closed(world)) == ([MINOR, PATCH, PATCH], [])

        world.api.delete(f"{BUDGETS}/web")
        world.up()

        assert (versions(world), closed(world)) == ([MINOR] * 3, [])
        until(lambda: web(world), "its pod runs again")
        assert web(world) != [pod]
        world.project.preview(world.stack, "--expect-no-changes")


def test_a_worker_that_is_new_does_not_come_with_a_newer_minor_release(engine: Engine, tmp_path: Path) -> None:
    with mn(engine, tmp_path, [AGENT]) as (world, machines):
        until(lambda: versions(world) == [VERSION] * 3, "every kubelet says its version")
        kept: dict[str, Any] = {}

        def out(config: dict[str, Any]) -> None:
            kept.update(config["isthmus:on_premise"]["machines"].pop())

        settings(world, out)
        world.up().says("mn: node mn-3 has left")
        settings(world, lambda config: config["isthmus:on_premise"]["machines"].append(kept))
        to(world, version=MINOR, sha256=release(tmp_path, MINOR))

        refused = world.up(code=1)

        refused.says(f"mn: mn-3 is not made: it would run k3s {MINOR}, and the server mn-1 runs {VERSION}; a worker is")
        assert machines["mn-3"].runs() == set()
