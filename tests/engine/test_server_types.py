"""Servers at Hetzner get another type, with the real engine, the real provider and the real API server: of no group two
are off at once, and what does not come back keeps the others on.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.engine.deadlines import shorter
from tests.engine.project import Engine
from tests.engine.sites import BOOT_SECONDS, Servers, at_hetzner
from tests.engine.test_leaving import settings
from tests.engine.test_pools import servers
from tests.engine.world import World

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(1800)]

SERVERS: Final = ("de-server-1", "de-server-2", "de-server-3")
WORKERS: Final = ("de-agent-1", "de-agent-2")
SECONDS: Final = 20.0
"""Of the wait, where it is in vain."""


def types(hetzner: Any) -> dict[str, str]:
    return {name: server["server_type"]["name"] for name, server in servers(hetzner).items()}


def change(world: World, group: str, kind: str) -> None:
    settings(world, lambda config: config["isthmus:hetzner"][group].update(server_type=kind))


def test_of_no_group_two_are_off_at_once(engine: Engine, tmp_path: Path) -> None:
    changes = {"hetzner.control_plane.count": len(SERVERS), "hetzner.workers.count": len(WORKERS)}
    with at_hetzner(engine, tmp_path, changes) as (world, hetzner):
        machines = hetzner.backend
        assert isinstance(machines, Servers)
        world.up()
        before = types(hetzner)
        assert {*before.values()} == {"cx23"}

        change(world, "control_plane", "cx33")
        change(world, "workers", "cx33")
        changed = world.up()

        assert types(hetzner) == dict.fromkeys(before, "cx33")
        assert machines.off.keys() == before.keys()
        for group in (SERVERS, WORKERS):
            times = [machines.off[name] for name in group]
            for (_, back), (off, _) in itertools.pairwise(times):
                assert back is not None
                assert back < off
            for one, next_ in itertools.pairwise(group):
                assert re.search(
                    rf"de: {next_} waits for its other type \([0-9]+ of 600 s\): {one}: ", changed.output
                ), changed.output
        world.project.preview(world.stack, "--expect-no-changes")

        machines.off.clear()
        machines.boots_again = False
        change(world, "workers", "cx43")
        with shorter(world.project, {"AGAIN_SECONDS": SECONDS}):
            failed = world.up(code=1)
        failed.says(
            f"de: de-agent-2 does not get its other type, for which it would be switched off: after {SECONDS:.0f} s"
        )
        failed.says("de-agent-1: ")
        assert types(hetzner) == {**dict.fromkeys(before, "cx33"), "de-agent-1": "cx43"}
        assert machines.off.keys() == {"de-agent-1"}

        machines.boots_again = True
        machines.boot_again("de-agent-1")
        world.up()
        assert types(hetzner) == {**dict.fromkeys(before, "cx33"), **dict.fromkeys(WORKERS, "cx43")}
        world.project.preview(world.stack, "--expect-no-changes")
        assert BOOT_SECONDS < SECONDS, "one that boots would have been back"
