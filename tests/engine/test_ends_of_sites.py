"""`destroy` of a stack at Hetzner or on machines of one's own with NetBird away, its operator away, or its token
revoked: the ways out of ``test_netbird_ends.py``, typed with the kubeconfig that the stack gives. Nothing is left in
NetBird, at Hetzner, on the machines and in the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import is_empty, names
from tests.engine.machine import Machine
from tests.engine.project import Engine
from tests.engine.sites import at_hetzner, on_machines
from tests.engine.test_netbird_ends import netbird_gone, operator_gone, token_revoked
from tests.engine.world import World
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(1800)]

GONE = [netbird_gone, operator_gone, token_revoked]
ON_A_MACHINE = {"/usr/local/bin/k3s", "/etc/rancher/k3s/config.yaml", "/usr/local/lib/isthmus/uninstall-k3s"}
"""Of what the program puts on a machine."""


def raised(world: World, directory: Path) -> None:
    """The stack is up, and its user has the kubeconfig, as the tutorial says it."""
    world.up()
    assert set(world.in_netbird()) >= {"/groups", "/networks", "/peers", "/policies", "/setup-keys"}
    shown = world.project.run("stack", "output", "kubeconfig", "--show-secrets", "-s", world.stack).expect(0)
    world.persons_kubeconfig = directory / "kubeconfig"
    world.persons_kubeconfig.write_text(shown.stdout, encoding="utf-8")


def nothing_is_left(world: World) -> None:
    assert world.project.resources(world.stack) == []
    assert world.in_netbird() == {}
    # And there is nothing to do any more.
    world.destroy()


@pytest.fixture
def mn(engine: Engine, tmp_path: Path) -> Iterator[tuple[World, list[Machine]]]:
    """mn, raised on its machines."""
    with on_machines(engine, tmp_path) as (world, machines):
        raised(world, tmp_path)
        assert all(machine.left() >= ON_A_MACHINE for machine in machines)
        assert [machine.runs() for machine in machines] == [{"k3s.service"}, {"k3s-agent.service"}]
        yield world, machines


@pytest.fixture
def de(engine: Engine, tmp_path: Path) -> Iterator[tuple[World, StandIn]]:
    """de, raised at Hetzner."""
    with at_hetzner(engine, tmp_path) as (world, hetzner):
        raised(world, tmp_path)
        assert names(hetzner)["servers"] == ["de-agent-1", "de-server-1"]
        yield world, hetzner


@pytest.mark.parametrize("gone", GONE)
def test_end_on_own_machines(mn: tuple[World, list[Machine]], gone: Callable[[World], None]) -> None:
    world, machines = mn

    gone(world)

    nothing_is_left(world)
    assert [machine.left() for machine in machines] == [set(), set()]
    assert [machine.runs() for machine in machines] == [set(), set()]


@pytest.mark.parametrize("gone", GONE)
def test_end_at_hetzner(de: tuple[World, StandIn], gone: Callable[[World], None]) -> None:
    world, hetzner = de

    gone(world)

    nothing_is_left(world)
    assert is_empty(hetzner)
