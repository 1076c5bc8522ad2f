"""Fixtures of the tests with the real engine: one engine a run, one project a test, one Hetzner stand-in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.standins.hetzner_api.backend import MemoryBackend
from tests.domain.samples import DE, changed
from tests.engine.api_server import ApiServer
from tests.engine.project import Engine, Project
from tests.engine.world import World
from tests.held_port import held_port
from tests.lab.hetzner_api.conftest import StandIn


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Pulumi, ready to run."""
    return Engine.start(tmp_path_factory.mktemp("engine"))


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Project:
    """A project without stack files and with an empty backend."""
    return Project(engine, tmp_path / "isthmus")


@pytest.fixture(scope="module")
def world(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster, NetBird and a project in which nothing is raised; one for all tests of a module."""
    with ExitStack() as stack:
        yield World(engine, tmp_path_factory.mktemp("world"), stack)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server with nothing in it; one for all tests of a module."""
    server = ApiServer(tmp_path_factory.mktemp("api") / "server")
    try:
        server.wait()
        yield server
    finally:
        server.stop()


StartHetzner = Callable[..., StandIn]


@pytest.fixture
def start_hetzner(tmp_path: Path) -> Iterator[StartHetzner]:
    """Starts the stand-in with options of its own."""
    started: list[StandIn] = []
    with ExitStack() as stack:

        def start(**options: Any) -> StandIn:
            # Of one that is stopped and started again nobody else gets the port in between.
            chosen = {"port": options.get("port") or held_port(stack)}
            backend = options.pop("backend", None) or MemoryBackend()
            started.append(StandIn(tmp_path / "hetzner", backend, **{**options, **chosen}))
            return started[-1]

        yield start
        for stand_in in started:
            stand_in.stop()


@pytest.fixture
def hetzner(start_hetzner: StartHetzner) -> StandIn:
    """The stand-in with nothing in it."""
    return start_hetzner()


@pytest.fixture
def de(hetzner: StandIn) -> dict[str, Any]:
    """A right stack file for de whose Hetzner is the stand-in."""
    return at(hetzner)


def at(hetzner: StandIn) -> dict[str, Any]:
    """A right stack file for de whose Hetzner is this stand-in."""
    return changed(
        DE, {"hcloud:endpoint": hetzner.endpoint, "hcloud:pollInterval": "20ms", "hcloud:pollFunction": "constant"}
    )


KINDS = ("networks", "firewalls", "placement_groups", "ssh_keys", "primary_ips", "servers")


def names(hetzner: StandIn) -> dict[str, list[str]]:
    """The names of all there is in the project at Hetzner, by kind."""
    found = {kind: hetzner.call("GET", f"/{kind}").json()[kind] for kind in KINDS}
    return {kind: sorted(item["name"] for item in objects) for kind, objects in found.items() if objects}


def is_empty(hetzner: StandIn) -> bool:
    """Whether nothing is there."""
    return names(hetzner) == {}
