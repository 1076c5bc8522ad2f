"""Pools at Hetzner, with the real engine and the real provider: who comes or goes changes nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.domain.samples import changed
from tests.engine.project import Engine, Project
from tests.engine.sites import at_hetzner
from tests.engine.test_hetzner import UP, changes, ends_at_the_targets, prepare
from tests.engine.test_leaving import node as node_of
from tests.engine.test_leaving import settings
from tests.engine.world import World
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(1800)]

KIND: Final = "cx23"
BEFORE: Final[dict[str, Any]] = {
    "a": {"server_type": KIND, "addresses": "10.0.1.64/28", "count": 1},
    "b": {"server_type": "cpx22", "addresses": "10.0.1.80/28", "count": 2, "location": "nbg1"},
    "c": {"server_type": "ccx13", "addresses": "10.0.1.96/28", "members": [1, 2, 11], "labels": {"workload": "c"}},
}
AFTER: Final[dict[str, Any]] = {
    "a": BEFORE["a"],
    "ab": {"server_type": KIND, "addresses": "10.0.1.112/28", "count": 1},
    "c": {**BEFORE["c"], "members": [1, 11, 12]},
}
"""A pool removed from the middle, one added there, and a count that changes from the middle."""
CHANGES: Final = [
    "create hcloud:index/placementGroup:PlacementGroup isthmus-de-ab-1",
    "create hcloud:index/server:Server de-ab-1",
    "create hcloud:index/server:Server de-c-12",
    "delete hcloud:index/placementGroup:PlacementGroup isthmus-de-b-1",
    "delete hcloud:index/server:Server de-b-1",
    "delete hcloud:index/server:Server de-b-2",
    "delete hcloud:index/server:Server de-c-2",
]
STAY: Final = {"de-server-1", "de-agent-1", "de-a-1", "de-c-1", "de-c-11"}
ADDRESSES: Final = {
    "de-server-1": "10.0.1.11", "de-agent-1": "10.0.1.31", "de-a-1": "10.0.1.65", "de-b-1": "10.0.1.81",
    "de-b-2": "10.0.1.82", "de-c-1": "10.0.1.97", "de-c-2": "10.0.1.98", "de-c-11": "10.0.1.107",
}  # fmt: skip


def test_a_preview_names_what_comes_and_goes_and_nothing_else(
    project: Project, hetzner: StandIn, de: dict[str, Any]
) -> None:
    """Only the Hetzner resources are raised, as in ``test_hetzner.py``."""
    more = {"k3s.sha256_arm64": "a6" * 32}
    prepare(project, changed(de, {**more, "hetzner.pools": BEFORE}))
    ends_at_the_targets(project.run(*UP))
    before = servers(hetzner)
    assert {name: server["private_net"][0]["ip"] for name, server in before.items()} == ADDRESSES
    assert before["de-b-1"]["location"]["name"] == "nbg1"
    assert before["de-c-1"]["placement_group"] == before["de-c-2"]["placement_group"]
    assert before["de-c-1"]["placement_group"] != before["de-c-11"]["placement_group"]

    after = {**AFTER, "ab": {**AFTER["ab"], "server_type": "cax11"}}
    project.write("de", changed(de, {**more, "hetzner.pools": after}))

    assert sorted(changes(project.preview("de"))) == CHANGES


def test_a_pool_added_and_one_removed_from_the_middle_change_nothing_else(engine: Engine, tmp_path: Path) -> None:
    """The whole program, with machines that boot: no server that stays is asked for anything, none starts its k3s
    again, and of what is in the cluster nothing changes either.
    """
    every = {**BEFORE, **AFTER, "c": {**BEFORE["c"], "members": [1, 2, 11, 12]}}
    with at_hetzner(engine, tmp_path, {"hetzner.pools": every}) as (world, hetzner):
        settings(world, lambda config: config["isthmus:hetzner"].update(pools=BEFORE))
        world.up()
        before, state = servers(hetzner), resources(world)
        assert before.keys() == ADDRESSES.keys()
        started = {name: hetzner.backend.booted[name].started() for name in STAY}
        assert all(set(units) & {"k3s.service", "k3s-agent.service"} for units in started.values())
        assert node_of(world, "de-c-1")["metadata"]["labels"]["workload"] == "c"
        asked = len(actions(hetzner))

        settings(world, lambda config: config["isthmus:hetzner"].update(pools=AFTER))
        said = world.up()

        for name in ("de-b-1", "de-b-2", "de-c-2"):
            said.says(f"de: node {name} has left")
            assert world.api.is_gone(f"/api/v1/nodes/{name}")
        after = servers(hetzner)
        assert after.keys() == STAY | {"de-ab-1", "de-c-12"}
        assert {name: after[name] for name in STAY} == {name: before[name] for name in STAY}
        assert {name: hetzner.backend.booted[name].started() for name in STAY} == started
        touched = {resource["id"] for action in actions(hetzner)[asked:] for resource in action["resources"]}
        assert after["de-ab-1"]["id"] in touched
        assert touched.isdisjoint({before[name]["id"] for name in STAY})
        came, went = resources(world), state
        assert [urn for urn in came.keys() - went.keys() if "de-ab-" not in urn and "de-c-12" not in urn] == []
        assert [urn for urn in went.keys() - came.keys() if "de-b-" not in urn and "de-c-2" not in urn] == []
        kept = came.keys() & went.keys()
        assert len(kept) > 30
        assert {urn for urn in kept if came[urn] != went[urn]} == set()


def resources(world: World) -> dict[str, Any]:
    """What the state has of each resource: id, inputs and when it was changed last; not of the stack, whose outputs
    tell of its nodes, nor of providers, which the engine writes anew.
    """
    return {
        resource["urn"]: (resource.get("id"), resource.get("modified"))
        for resource in world.project.resources(world.stack)
        if resource.get("custom") and not resource["type"].startswith("pulumi:providers:")
    }


def servers(hetzner: StandIn) -> dict[str, Any]:
    """Each server by its name, with its id, addresses, placement group and all else that Hetzner says of it."""
    found = hetzner.call("GET", "/servers?per_page=50").json()["servers"]
    # A group lists who else is in it.
    return {server["name"]: {**server, "placement_group": server["placement_group"]["id"]} for server in found}


def actions(hetzner: StandIn) -> list[dict[str, Any]]:
    """All that Hetzner was asked to do with servers, in its order."""
    found: list[dict[str, Any]] = []
    page: int | None = 1
    while page is not None:
        answer = hetzner.call("GET", f"/servers/actions?per_page=50&page={page}").json()
        found += answer["actions"]
        page = answer["meta"]["pagination"]["next_page"]
    return sorted(found, key=lambda item: int(item["id"]))
