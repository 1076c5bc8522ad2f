"""`pulumi up` is killed with SIGKILL at random moments while a node leaves, joins, is made anew or goes on to another
k3s; the next one completes without `refresh` or a hand. Nothing is left closed, doubled or behind.

The moments come from a seed, which is printed: ``ISTHMUS_SEED`` repeats them and ``ISTHMUS_KILLS`` says how many there
are a place.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from domain.leaving import LEAVES_ANNOTATION
from tests.engine.conftest import names
from tests.engine.kube_api import until
from tests.engine.machine import Machine
from tests.engine.project import Engine
from tests.engine.sites import VERSION, Servers, at_hetzner, release
from tests.engine.test_anew import mn, noted
from tests.engine.test_leaving import AGENT, BUDGETS, DRAIN_SECONDS, node, run_web, settings
from tests.engine.world import World

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(3600)]

KILLS: Final = int(os.environ.get("ISTHMUS_KILLS", "5"))
SEED: Final = int(os.environ.get("ISTHMUS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
TAKES_SECONDS: Final = 20.0
"""Moments are drawn in that time; they come too late where the `up` was quicker."""
WORKS: Final = ("leaves", "joins", "is made anew", "goes on to another k3s")
"""What happens to the node, one after the other; the last is of all nodes."""


@dataclass
class Wanted:
    """What the stack file asks for of the node that comes and goes, and of the k3s of all."""

    there: bool = True
    generation: int = 1
    k3s: dict[str, Any] = field(default_factory=lambda: {"version": VERSION})
    patch: int = 9
    """The release that the peer runs, whose binary has a checksum of its own; the next ones are nobody's."""

    def change(self, work: str, mirror: Path) -> None:
        """Asks for that."""
        if work == "is made anew":
            self.generation += 1
        elif work == "goes on to another k3s":
            self.patch += 1
            version = f"v1.34.{self.patch}+k3s1"
            self.k3s = {"version": version, "sha256": release(mirror, version)}
        else:
            self.there = work == "joins"


@dataclass(frozen=True)
class Place:
    """A raised stack with a node that comes and goes. ``write`` puts what is wanted into its stack file, ``machines``
    are those that there are, by name; ``further`` is what else has to be so.
    """

    world: World
    node: str
    others: tuple[str, ...]
    write: Callable[[Wanted], None]
    machines: Callable[[], Mapping[str, Machine]]
    further: Callable[[Wanted], None]
    first: int
    """The first of :data:`WORKS`."""
    mirror: Path


@contextmanager
def on_own_machines(engine: Engine, directory: Path) -> Iterator[Place]:
    with mn(engine, directory, [AGENT]) as (world, machines):
        kept: dict[str, Any] = {}
        settings(world, lambda config: kept.update(config["isthmus:on_premise"]["machines"][-1]))

        def write(wanted: Wanted) -> None:
            def change(config: dict[str, Any]) -> None:
                row = config["isthmus:on_premise"]["machines"]
                row[:] = [machine for machine in row if machine["name"] != "mn-3"]
                if wanted.there:
                    row.append({**kept, "generation": wanted.generation})
                config["isthmus:k3s"].update(wanted.k3s)

            settings(world, change)

        def further(wanted: Wanted) -> None:
            machine = machines["mn-3"]
            assert machine.runs() == ({"k3s-agent.service"} if wanted.there else set())
            assert wanted.there or machine.left() == set()

        run_web(world, "mn-3")
        yield Place(world, "mn-3", ("mn-1", "mn-2"), write, lambda: machines, further, 0, directory)


@contextmanager
def of_hetzner(engine: Engine, directory: Path) -> Iterator[Place]:
    changes = {"hetzner.workers.count": 2, "k3s.drain_seconds": DRAIN_SECONDS}
    with at_hetzner(engine, directory, changes) as (world, hetzner):
        settings(world, lambda config: config["isthmus:k3s"].update(drain_seconds=DRAIN_SECONDS))
        servers = hetzner.backend
        assert isinstance(servers, Servers)
        world.up()

        def write(wanted: Wanted) -> None:
            def change(config: dict[str, Any]) -> None:
                section = config["isthmus:hetzner"]
                section["workers"]["count"] = 2 if wanted.there else 1
                section["generations"] = {"de-agent-2": wanted.generation} if wanted.there else {}
                config["isthmus:k3s"].update(wanted.k3s)

            settings(world, change)

        def further(wanted: Wanted) -> None:
            assert names(hetzner)["servers"] == ["de-agent-1", *(["de-agent-2"] if wanted.there else []), "de-server-1"]

        run_web(world, "de-agent-2")
        yield Place(
            world, "de-agent-2", ("de-server-1", "de-agent-1"), write, lambda: servers.booted, further, 2, directory
        )


def killed_after(world: World, seconds: float) -> bool:
    """An `up` that is killed so long after its start, with everything that it has started; whether it still ran."""
    running = world.project.start("up", "-s", world.stack, "--yes", "--skip-preview")
    end = time.monotonic() + seconds
    while running.goes_on and time.monotonic() < end:
        time.sleep(0.1)
    killed = running.goes_on
    if not killed:
        running.end(1).expect(0)
    running.kill()
    world.project.run("cancel", "-s", world.stack, "--yes")
    return killed


def in_order(place: Place, wanted: Wanted) -> None:
    """What there is is what is wanted, once, and nobody is left closed."""
    world, there = place.world, {*place.others, *([place.node] if wanted.there else [])}
    nodes = {item["metadata"]["name"]: item for item in world.api.items("/api/v1/nodes")}
    assert nodes.keys() == there
    assert [name for name in nodes if nodes[name]["spec"].get("unschedulable")] == []
    assert [name for name in nodes if LEAVES_ANNOTATION in nodes[name]["metadata"].get("annotations", {})] == []
    assert noted(world) == {name: wanted.generation if name == place.node else 1 for name in there}
    version = wanted.k3s["version"]
    until(
        lambda: {node(world, name)["status"].get("nodeInfo", {}).get("kubeletVersion") for name in there} == {version},
        f"every kubelet says {version}",
    )
    assert there <= place.machines().keys()
    place.further(wanted)
    world.project.preview(world.stack, "--expect-no-changes")


@pytest.mark.parametrize("raised", [on_own_machines, of_hetzner], ids=["own machines", "at Hetzner"])
def test_the_next_up_completes(
    engine: Engine,
    tmp_path: Path,
    raised: Callable[[Engine, Path], Any],
    request: pytest.FixtureRequest,
) -> None:
    said: list[str] = []
    try:
        with raised(engine, tmp_path) as place:
            place.world.api.delete(f"{BUDGETS}/web")
            wanted = Wanted()
            for turn in range(KILLS):
                work = WORKS[(place.first + turn) % len(WORKS)]
                wanted.change(work, tmp_path)
                place.write(wanted)
                moment = random.Random(f"{SEED} {place.node} {turn}").random() * TAKES_SECONDS
                killed = killed_after(place.world, moment)
                begun = time.monotonic()
                place.world.up()
                took = time.monotonic() - begun
                how = f"{'killed' if killed else 'had ended'} at {moment:.1f} s"
                said.append(f"{place.node} {work}: {how}; next up {took:.0f} s")
                in_order(place, wanted)
            assert sum(": killed at" in line for line in said) >= KILLS / 2
    finally:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\nkills with ISTHMUS_SEED={SEED}:", *said, sep="\n  ")
