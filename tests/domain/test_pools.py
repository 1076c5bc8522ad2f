"""Pools at Hetzner in the plan: where their servers lie, what they are called, and that nobody moves another."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.changes import changes_refused, raised_with
from domain.node_files import node_files
from domain.nodes import Node
from domain.places.hetzner.nodes import placement
from domain.places.outputs import RAISED_WITH
from domain.plan_report import fleet_report
from tests.domain.samples import DE, golden, plan_of, settings_of

ARM: Final = "a6" * 32
POOLS: Final[dict[str, Any]] = {
    "web": {"server_type": "cpx22", "addresses": "10.0.1.128/25", "count": 12},
    "db": {
        "server_type": "ccx23",
        "addresses": "10.0.1.64/28",
        "members": [3, 1],
        "location": "nbg1",
        "image": "debian-13",
        "labels": {"workload": "database"},
        "taints": ["workload=database:NoSchedule"],
    },
    "arm": {"server_type": "cax21", "addresses": "10.0.1.80/29", "count": 1, "routers": 1},
}


def with_pools(pools: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"hetzner.pools": pools, "k3s.sha256_arm64": ARM, **more}


def nodes(pools: dict[str, Any], **more: Any) -> dict[str, Node]:
    return {node.name: node for node in plan_of("de", DE, with_pools(pools, **more)).nodes}


def test_the_report_of_a_cluster_with_pools() -> None:
    report = fleet_report({"de": settings_of("de", DE, {**with_pools(POOLS), "peers": []})})
    golden("plan-pools.json", json.dumps(report.clusters[0].as_json()["nodes"], indent=1) + "\n")


def test_a_pool_added_one_removed_and_one_changed_in_the_middle_move_nobody() -> None:
    before = nodes(POOLS)
    other = {**POOLS, "cache": {"server_type": "cx23", "addresses": "10.0.1.96/28", "count": 2}}
    del other["db"]
    other["web"] = {"server_type": "cpx22", "addresses": "10.0.1.128/25", "members": [*range(1, 5), *range(6, 14)]}
    after = nodes(other)
    gone = {"de-db-1", "de-db-3", "de-web-5"}
    assert before.keys() - after.keys() == gone
    assert after.keys() - before.keys() == {"de-cache-1", "de-cache-2", "de-web-13"}
    assert {name: after[name] for name in before.keys() - gone} == {
        name: node for name, node in before.items() if name not in gone
    }


def test_without_pools_all_is_as_it_was() -> None:
    assert nodes({}).items() <= nodes(POOLS).items()
    assert [(node.name, str(node.address), node.order and node.order.placement) for node in nodes({}).values()] == [
        ("de-server-1", "10.0.1.11", ""),
        ("de-agent-1", "10.0.1.31", ""),
    ]


POOL = st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 14), st.sampled_from(["cx23", "ccx13"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(POOL, max_size=6, unique_by=lambda pool: pool[0]), st.integers(1, 5), st.integers(0, 5))
def test_a_node_follows_from_its_own_pool_alone(wanted: list[tuple[str, int, str]], workers: int, out: int) -> None:
    blocks = list(IPv4Network("10.0.0.0/20").subnets(new_prefix=28))[4:]
    pools = {
        name: {"server_type": kind, "addresses": str(blocks["abcdefgh".index(name)]), "count": count}
        for name, count, kind in wanted
    }
    more = {"network.node_cidr": "10.0.0.0/20", "hetzner.workers.count": workers}
    every = nodes(pools, **more)
    addresses = [node.address for node in every.values()]
    assert len(set(addresses)) == len(addresses) == 1 + workers + sum(count for _, count, _ in wanted)
    fewer = {name: pool for index, (name, pool) in enumerate(pools.items()) if index != out}
    left = nodes(fewer, **{**more, "hetzner.workers.count": 1})
    assert left.items() <= every.items()


@pytest.mark.parametrize(
    ("number", "group"), [(1, "db-1"), (10, "db-1"), (11, "db-2"), (20, "db-2"), (21, "db-3"), (200, "db-20")]
)
def test_placement_groups_of_ten(number: int, group: str) -> None:
    assert placement("db", number) == group


def test_no_placement_group_holds_more_than_ten() -> None:
    held: dict[str, int] = {}
    for node in nodes({**POOLS, "web": {**POOLS["web"], "count": 40}}, **{"hetzner.workers.count": 9}).values():
        assert node.order is not None
        held[node.order.placement] = held.get(node.order.placement, 0) + 1
    assert held == {"": 10, "arm-1": 1, "db-1": 2, "web-1": 10, "web-2": 10, "web-3": 10, "web-4": 10}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["de-agent-1", "de-arm-1"]),
        ({"hetzner.routers": 0}, ["de-arm-1"]),
        ({"hetzner.routers": 2}, ["de-server-1", "de-agent-1", "de-arm-1"]),
        ({"hetzner.workers.count": 0}, ["de-server-1", "de-arm-1"]),
    ],
)
def test_routers_of_pools_are_those_that_the_pool_says(more: dict[str, Any], expected: list[str]) -> None:
    assert [node.name for node in nodes(POOLS, **more).values() if node.router] == expected


def file_of(name: str, path: str) -> str:
    found = settings_of("de", DE, with_pools(POOLS))
    files = node_files(plan_of("de", DE, with_pools(POOLS)), nodes(POOLS)[name], found, "token", "password")
    return next(file.content for file in files if file.path.endswith(path))


def test_each_architecture_has_its_binary() -> None:
    assert f"ISTHMUS_K3S_SHA256={ARM}\n" in file_of("de-arm-1", "k3s.env")
    assert "/k3s-arm64\n" in file_of("de-arm-1", "k3s.env")
    for name in ("de-server-1", "de-agent-1", "de-db-1"):
        assert f"ISTHMUS_K3S_SHA256={'5f' * 32}\n" in file_of(name, "k3s.env")
        assert "/k3s\n" in file_of(name, "k3s.env")


def test_a_node_registers_with_its_taints_and_without_its_labels() -> None:
    """k3s would set a label again at every start, long after it has left the stack file."""
    config = file_of("de-db-3", "config.yaml")
    assert "node-taint:\n- workload=database:NoSchedule\n" in config
    assert "node-label" not in config
    assert "node-taint" not in file_of("de-web-1", "config.yaml")


# --- what a cluster that runs can't leave -----------------------------------------------------------------------------


def refused(before: dict[str, Any], after: dict[str, Any], *, noted: bool = True) -> list[str]:
    raised = settings_of("de", DE, before)
    outputs = {"node_ips": {node.name: str(node.address) for node in plan_of("de", DE, before).nodes}}
    kept = {name: value for name, value in raised_with(raised).items() if noted or name != "hetzner_groups"}
    found = changes_refused({**outputs, RAISED_WITH: kept}, settings_of("de", DE, after))
    return [str(problem) for problem in found]


def db(**changes: Any) -> dict[str, Any]:
    return with_pools({**POOLS, "db": {**POOLS["db"], **changes}})


ANEW: Final = "or take the pool out, `pulumi up -s de`, and add it anew."


def test_what_may_change_while_the_cluster_runs() -> None:
    assert refused({}, with_pools(POOLS)) == []
    assert refused(with_pools(POOLS), {}) == []
    assert refused(with_pools(POOLS), with_pools(POOLS)) == []
    assert refused(with_pools(POOLS), db(server_type="ccx33", members=[1, 2], image="debian-12", taints=[])) == []
    web = {**POOLS["web"], "count": 3}
    assert refused(with_pools({"web": web}), with_pools({"web": {**web, "count": 30}})) == []
    small, larger = ({**POOLS["arm"], "addresses": f"10.0.1.96/{size}"} for size in (29, 27))
    assert refused(with_pools({"arm": small}), with_pools({"arm": larger})) == []


def test_a_pool_without_servers_may_begin_anywhere() -> None:
    empty = {**POOLS["db"], "members": [], "count": 0}
    moved = {**empty, "count": 1, "addresses": "10.0.1.96/28", "location": "hel1"}
    assert refused(with_pools({"db": empty}), with_pools({"db": moved})) == []


def test_a_pool_keeps_its_beginning() -> None:
    assert refused(with_pools(POOLS), db(addresses="10.0.1.96/28")) == [
        (
            "de: hetzner.pools.db.addresses 10.0.1.96/28 gives de-db-1 the address 10.0.1.97, and it runs with "
            "10.0.1.65; k3s and Cilium know the node by it; begin the range where it began before, " + ANEW
        )
    ]


def test_an_address_is_free_once_its_node_has_left() -> None:
    cache = {"cache": {"server_type": "cx23", "addresses": "10.0.1.64/28", "count": 2}}
    left = {name: pool for name, pool in POOLS.items() if name != "db"}
    assert refused(with_pools(POOLS), with_pools({**left, **cache})) == [
        (
            "de: hetzner.pools.cache.addresses 10.0.1.64/28 gives de-cache-1 the address 10.0.1.65, which de-db-1 has "
            "until this update has removed it; take another range, or add the pool after a `pulumi up -s de` without "
            "it."
        )
    ]
    assert refused(with_pools(left), with_pools({**left, **cache})) == []


def test_a_pool_stays_in_its_location() -> None:
    assert refused(with_pools(POOLS), db(location="fsn1")) == [
        (
            "de: hetzner.pools.db.location fsn1 is not nbg1, where the pool's servers run; a server can't move; write "
            "nbg1 again, " + ANEW
        )
    ]


@pytest.mark.parametrize("noted", [True, False])
def test_servers_keep_their_architecture(noted: bool) -> None:
    assert refused(with_pools({}), {**with_pools({}), "hetzner.workers.server_type": "cax11"}, noted=noted) == [
        (
            "de: hetzner.workers.server_type cax11 is a type of Arm servers, and these run as x86 servers; take a type "
            "of x86 servers again, and take a pool for the others."
        )
    ]
    other = with_pools({**POOLS, "arm": {**POOLS["arm"], "server_type": "cx33"}})
    assert refused(with_pools(POOLS), other) == [
        (
            "de: hetzner.pools.arm.server_type cx33 is a type of x86 servers, and these run as Arm servers; take a "
            "type of Arm servers again, " + ANEW
        )
    ]
