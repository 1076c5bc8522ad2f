"""Settings of k3s that change while nodes run at Hetzner, with the real engine, the real API server and machines to log
in to: they come one after the other, each is started anew once, and what fails stops the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.engine.kube_api import until
from tests.engine.project import Engine
from tests.engine.sites import VERSION, Servers, at_hetzner
from tests.engine.test_leaving import run_web, settings, web
from tests.engine.test_upgrading import ORDER, closed, versions
from tests.engine.world import World

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(1800)]

SERVER, _, LAST = ORDER
WRONG: Final = {"kube-apiserver-arg": ["no-such-argument=1"]}


def to(world: World, **k3s: Any) -> None:
    settings(world, lambda config: config["isthmus:k3s"].update(k3s))


def restarts(servers: Servers) -> list[list[int]]:
    """On each node, since its first boot."""
    return [servers.booted[name].restarts()[1:] for name in ORDER]


def of_before(world: World, file: Path) -> None:
    """The state as a program left it that noted no settings."""
    state: dict[str, Any] = json.loads(world.project.state_text(world.stack))["checkpoint"]["latest"]
    left_out = [resource["urn"] for resource in state["resources"] if resource["type"].endswith(":NodeSettings")]
    assert len(left_out) == 2
    state["resources"] = [resource for resource in state["resources"] if resource["urn"] not in left_out]
    nodes = [resource for resource in state["resources"] if resource["type"].endswith(":NodeGeneration")]
    assert len(nodes) == len(ORDER)
    for node in nodes:
        node["dependencies"] = [urn for urn in node["dependencies"] if urn not in left_out]
        for kept in (node["inputs"], node["outputs"], node["propertyDependencies"]):
            del kept["settings"]
    file.write_text(json.dumps({"version": 3, "deployment": state}), encoding="utf-8")
    world.project.run("stack", "import", "-s", world.stack, "--file", str(file)).expect(0)


def test_one_after_the_other_and_the_next_up_goes_on_where_it_stopped(engine: Engine, tmp_path: Path) -> None:
    with at_hetzner(engine, tmp_path, {"hetzner.workers.count": 2}) as (world, hetzner):
        servers = hetzner.backend
        assert isinstance(servers, Servers)
        world.up()
        until(lambda: versions(world) == [VERSION] * 3, "every kubelet says its version")
        run_web(world, "de-agent-2")
        pods = web(world)
        assert restarts(servers) == [[], [], []]

        of_before(world, tmp_path / "before.json")
        noted = world.up()

        assert "takes its settings" not in str(noted), "they have them"
        assert (restarts(servers), closed(world)) == ([[], [], []], [])

        to(world, server_config={"etcd-expose-metrics": True}, agent_config={"kubelet-arg": ["max-pods=200"]})
        servers.booted[LAST].breaks()
        stopped = world.up(code=1)

        stopped.says(f"de: node {LAST} has not taken its settings of k3s: ")
        stopped.says("Job for k3s-agent.service failed.")
        once = restarts(servers)
        assert [len(times) for times in once] == [1, 1, 1]
        assert once == sorted(once), "servers first, the router last"
        assert (closed(world), web(world)) == ([LAST], pods)

        servers.booted[LAST].breaks(broken=False)
        world.up().says(f"de: node {LAST} has taken its settings of k3s")

        assert [len(times) for times in restarts(servers)] == [1, 1, 2]
        assert restarts(servers)[:2] == once[:2]
        assert (closed(world), web(world)) == ([], pods)
        world.project.preview(world.stack, "--expect-no-changes")
        assert "etcd-expose-metrics" not in generations(world)

        to(world, server_config=WRONG)
        world.up(code=1).says(f"de: node {SERVER} has not taken its settings of k3s: ")
        assert servers.booted[SERVER].runs() == set()

        to(world, server_config={"etcd-expose-metrics": True})
        mended = world.up()

        mended.says(f"de: node {SERVER} does not answer (")
        assert servers.booted[SERVER].runs() == {"k3s.service"}
        assert [len(times) for times in restarts(servers)] == [3, 1, 2]
        assert (closed(world), web(world)) == ([], pods)
        world.project.preview(world.stack, "--expect-no-changes")


def generations(world: World) -> str:
    """What the state has of nodes and of their settings."""
    kinds = (":NodeGeneration", ":NodeSettings")
    found = [resource for resource in world.project.resources(world.stack) if resource["type"].endswith(kinds)]
    assert len(found) == len(ORDER) + 2
    return json.dumps(found)
