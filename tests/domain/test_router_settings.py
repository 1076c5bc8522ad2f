"""Several routers: which nodes they are, and what they are called."""

from __future__ import annotations

import pytest

from domain.overlay import router_hostnames
from tests.domain.samples import DE, MN, plan_of


def routers(routers: int, workers: int, servers: int) -> list[str]:
    changes = {
        "hetzner.routers": routers,
        "hetzner.workers.count": workers,
        "hetzner.control_plane.count": servers,
    }
    return [node.name for node in plan_of("de", DE, changes).routers]


@pytest.mark.parametrize(
    ("count", "workers", "servers", "expected"),
    [
        (1, 0, 1, ["de-server-1"]),
        (1, 3, 1, ["de-agent-1"]),
        (2, 3, 1, ["de-agent-1", "de-agent-2"]),
        (2, 1, 1, ["de-server-1", "de-agent-1"]),
        (3, 1, 3, ["de-server-1", "de-server-2", "de-agent-1"]),
        (2, 0, 3, ["de-server-1", "de-server-2"]),
        (4, 3, 1, ["de-server-1", "de-agent-1", "de-agent-2", "de-agent-3"]),
    ],
)
def test_workers_are_routers_first_at_hetzner(count: int, workers: int, servers: int, expected: list[str]) -> None:
    assert routers(count, workers, servers) == expected


def test_more_routers_take_the_place_of_none() -> None:
    """Else a router that is added would move the link of those that are there."""
    for workers in range(5):
        for count in range(1, workers + 1):
            assert set(routers(count, workers, 1)) < set(routers(count + 1, workers, 1))


def test_every_machine_that_is_said_to_be_one_is_a_router() -> None:
    plan = plan_of("mn", MN, {"on_premise.machines.0.router": True})
    assert [node.name for node in plan.routers] == ["mn-1", "mn-2"]
    assert [node.labels for node in plan.routers] == [{"isthmus.dev/router": "true"}] * 2


def test_routers_are_called_by_their_nodes() -> None:
    assert router_hostnames("mn", ["mn-2"]) == {"mn-2": "isthmus-mn-router-mn-2"}
    assert router_hostnames("mn", ["n" * 60]) == {"n" * 60: "isthmus-mn-router"}, "it would be too long"
    assert router_hostnames("mn", ["mn-1", "mn-2"]) == {
        "mn-1": "isthmus-mn-router-mn-1",
        "mn-2": "isthmus-mn-router-mn-2",
    }
