"""Nodes at Hetzner that go on to another k3s, with the real engine, the real API server and machines to log in to: the
binary is on all of them first, then they go one after the other, and what fails stops the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.engine.kube_api import until
from tests.engine.project import Engine
from tests.engine.sites import VERSION, Servers, at_hetzner, release
from tests.engine.test_leaving import BUDGETS, DRAIN_SECONDS, node, run_web, settings, web
from tests.engine.world import World

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(1800)]

ORDER: Final = ("de-server-1", "de-agent-2", "de-agent-1")
"""de-agent-1 carries the link."""
PATCH: Final = "v1.34.10+k3s1"
MINOR: Final = "v1.35.0+k3s1"


def versions(world: World) -> list[str]:
    return [(node(world, name)["status"].get("nodeInfo") or {}).get("kubeletVersion", "") for name in ORDER]


def closed(world: World) -> list[str]:
    return [name for name in ORDER if node(world, name)["spec"].get("unschedulable")]


def started(servers: Servers) -> list[int]:
    """When k3s was started on each."""
    return [max(servers.booted[name].started().values()) for name in ORDER]


def to(world: World, version: str, sha256: str) -> None:
    settings(world, lambda config: config["isthmus:k3s"].update(version=version, sha256=sha256))


def test_one_after_the_other_and_the_next_up_goes_on_where_it_stopped(engine: Engine, tmp_path: Path) -> None:
    changes = {"hetzner.workers.count": 2, "k3s.drain_seconds": DRAIN_SECONDS}
    with at_hetzner(engine, tmp_path, changes) as (world, hetzner):
        settings(world, lambda config: config["isthmus:k3s"].update(drain_seconds=DRAIN_SECONDS))
        servers = hetzner.backend
        assert isinstance(servers, Servers)
        world.up()
        until(lambda: versions(world) == [VERSION] * 3, "every kubelet says its version")
        run_web(world, "de-agent-2")
        (pod,) = web(world)
        before = started(servers)

        to(world, PATCH, "0" * 64)
        release(tmp_path, PATCH)
        refused = world.up(code=1)

        refused.says(f"de: no node goes on to k3s {PATCH}, since it is not on all machines: ")
        for name in ORDER:
            refused.says(f"{name}: install-k3s: the checksum of")
        assert (started(servers), versions(world), closed(world)) == (before, [VERSION] * 3, [])

        to(world, PATCH, release(tmp_path / "again", PATCH))
        world.up()

        assert versions(world) == [PATCH] * 3
        assert started(servers) == sorted(started(servers)), "servers first, the router last"
        assert min(started(servers)) > max(before)
        assert (web(world), closed(world)) == ([pod], [])
        world.project.preview(world.stack, "--expect-no-changes")

        to(world, MINOR, release(tmp_path, MINOR))
        blocked = world.up(code=1)

        blocked.says(f"de: node de-agent-2 does not go on to k3s {MINOR}: after {DRAIN_SECONDS} s these of its pods")
        assert (versions(world), closed(world)) == ([MINOR, PATCH, PATCH], [])

        world.api.delete(f"{BUDGETS}/web")
        world.up()

        assert (versions(world), closed(world)) == ([MINOR] * 3, [])
        until(lambda: web(world), "its pod runs again")
        assert web(world) != [pod]
