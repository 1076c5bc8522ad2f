"""The lab's map is consistent with itself."""

from __future__ import annotations

from itertools import combinations

from lab import topology
from lab.topology import DEFAULT, HetznerSite, OnPremiseSite


def test_no_two_ranges_of_the_sites_overlap() -> None:
    ranges = [
        (f"{site.name} {name}", network)
        for site in DEFAULT.sites
        for name, network in (
            ("pods", site.ranges.pods),
            ("services", site.ranges.services),
            ("nodes", site.ranges.nodes),
        )
    ]
    overlapping = [(one, other) for (one, a), (other, b) in combinations(ranges, 2) if a.overlaps(b)]
    assert overlapping == []


def test_addresses_lie_where_they_belong() -> None:
    for site in DEFAULT.sites:
        if isinstance(site, OnPremiseSite):
            assert all(machine.address in site.ranges.nodes for machine in site.machines)
            assert site.gateway == next(site.ranges.nodes.hosts())
            assert sum(machine.router for machine in site.machines) == 1
        elif isinstance(site, HetznerSite):
            assert site.ranges.nodes.subnet_of(site.network)
    assert DEFAULT.workstation.address in DEFAULT.workstation_site.ranges.nodes
    used = [*topology.SERVICE_ADDRESSES, *(site.public_address for site in DEFAULT.on_premise)]
    assert len(set(used)) == len(used)


def test_each_stack_is_raised_and_those_before_their_peers_once_more() -> None:
    assert DEFAULT.up_order() == ("de", "mn", "de")
    assert [(a.name, b.name) for a, b in DEFAULT.directions()] == [("de", "mn"), ("mn", "de")]
