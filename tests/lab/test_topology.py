"""The lab's map is consistent with itself."""

from __future__ import annotations

from itertools import combinations

import pytest

from lab import topology
from lab.topology import DEFAULT, LEAST_SITES, MOST_ROUTERS, MOST_SITES, SITES, HetznerSite, OnPremiseSite, of_sites

ALL = of_sites(MOST_SITES)


def test_no_two_ranges_of_the_sites_overlap() -> None:
    ranges = [
        (f"{site.name} {name}", network)
        for site in SITES
        for name, network in (
            ("pods", site.ranges.pods),
            ("services", site.ranges.services),
            ("nodes", site.ranges.nodes),
        )
    ]
    overlapping = [(name, other) for (name, a), (other, b) in combinations(ranges, 2) if a.overlaps(b)]
    assert overlapping == []


def test_addresses_lie_where_they_belong() -> None:
    for site in SITES:
        if isinstance(site, OnPremiseSite):
            assert site.workstation_address in site.ranges.nodes
            assert site.workstation_address not in [site.gateway, *(machine.address for machine in site.machines)]
            assert all(machine.address in site.ranges.nodes for machine in site.machines)
            assert site.gateway == next(site.ranges.nodes.hosts())
            assert sum(machine.router for machine in site.machines) == 1
        elif isinstance(site, HetznerSite):
            assert site.ranges.nodes.subnet_of(site.network)
    used = [*topology.SERVICE_ADDRESSES, *(site.public_address for site in ALL.on_premise)]
    assert len(set(used)) == len(used)


TWO_ROUTERS = of_sites(MOST_SITES, 2)


def test_with_two_routers_every_cluster_has_a_node_beside_them() -> None:
    for site in TWO_ROUTERS.sites:
        assert (site.router_count, site.node_count) == (2, 3)
    de, mn, kz = TWO_ROUTERS.sites
    assert isinstance(de, HetznerSite)
    assert (de.control_planes, de.workers, de.routers) == (1, 2, 2)
    for site in (mn, kz):
        assert isinstance(site, OnPremiseSite)
        assert [(machine.name, str(machine.address), machine.role, machine.router) for machine in site.machines] == [
            (f"{site.name}-1", str(site.ranges.nodes[11]), "server", False),
            (f"{site.name}-2", str(site.ranges.nodes[12]), "agent", True),
            (f"{site.name}-3", str(site.ranges.nodes[13]), "agent", True),
        ]


def test_one_router_is_the_default_and_a_second_one_moves_nothing() -> None:
    assert (DEFAULT.routers, TWO_ROUTERS.routers) == (1, 2)
    assert of_sites(LEAST_SITES, 1) == DEFAULT == of_sites(LEAST_SITES)
    for usual, two in zip(ALL.on_premise, TWO_ROUTERS.on_premise, strict=True):
        assert two.machines[: len(usual.machines)] == usual.machines
        assert two.ranges == usual.ranges


@pytest.mark.parametrize("routers", [0, MOST_ROUTERS + 1])
def test_a_cluster_has_neither_fewer_nor_more_routers(routers: int) -> None:
    with pytest.raises(ValueError, match=f"a cluster of the lab has 1 to 2 routers, not {routers}"):
        of_sites(LEAST_SITES, routers)


def test_three_servers_are_two_nodes_more_and_nothing_else_is_another() -> None:
    three = of_sites(MOST_SITES, 1, 3)
    assert (ALL.servers, three.servers) == (1, 3)
    for site, usual in zip(three.sites, ALL.sites, strict=True):
        assert (site.server_count, site.router_count, site.node_count) == (3, 1, usual.node_count + 2)
        assert site.ranges == usual.ranges
        if isinstance(site, OnPremiseSite) and isinstance(usual, OnPremiseSite):
            assert site.machines[: len(usual.machines)] == usual.machines
            assert [(more.name, more.address, more.role, more.router) for more in site.machines[2:]] == [
                (f"{site.name}-3", site.ranges.nodes[13], "server", False),
                (f"{site.name}-4", site.ranges.nodes[14], "server", False),
            ]


def test_a_router_that_comes_later_moves_no_server() -> None:
    three, both = of_sites(MOST_SITES, 1, 3), of_sites(MOST_SITES, 2, 3)
    for site, more in zip(three.on_premise, both.on_premise, strict=True):
        assert more.machines[:-1] == site.machines
        last = more.machines[-1]
        assert (last.name, last.address, last.router) == (f"{site.name}-5", site.ranges.nodes[15], True)
    assert [(site.server_count, site.router_count, site.node_count) for site in both.sites] == [(3, 2, 5)] * MOST_SITES


def test_a_cluster_has_no_two_servers() -> None:
    with pytest.raises(ValueError, match="a cluster of the lab has 1 or 3 servers, not 2"):
        of_sites(LEAST_SITES, 1, 2)


def test_two_sites_are_the_default_and_the_person_sits_behind_the_first_nat() -> None:
    assert [site.name for site in DEFAULT.sites] == ["de", "mn"]
    assert DEFAULT.workstation_site.name == ALL.workstation_site.name == "mn"
    assert [site.name for site in ALL.on_premise] == ["mn", "kz"]


@pytest.mark.parametrize("count", [LEAST_SITES - 1, MOST_SITES + 1])
def test_a_lab_has_neither_fewer_nor_more_sites(count: int) -> None:
    with pytest.raises(ValueError, match=f"a lab has 2 to 3 sites, not {count}"):
        of_sites(count)


def test_each_stack_is_raised_and_those_before_their_peers_once_more() -> None:
    assert DEFAULT.up_order() == ("de", "mn", "de")
    assert [(a.name, b.name) for a, b in DEFAULT.directions()] == [("de", "mn"), ("mn", "de")]
    assert ALL.up_order() == ("de", "mn", "kz", "de", "mn")
    assert len(list(ALL.directions())) == 6


@pytest.mark.parametrize(
    ("raised", "order"),
    [
        (["de"], ("mn", "kz", "de", "mn")),
        (["de", "mn"], ("kz", "de", "mn")),
        (["mn", "kz"], ("de", "mn", "kz")),
        (["de", "mn", "kz"], ("de", "mn", "kz", "de", "mn")),
    ],
)
def test_a_stack_that_is_raised_waits_for_those_that_are_not(raised: list[str], order: tuple[str, ...]) -> None:
    assert ALL.up_order(raised) == order
