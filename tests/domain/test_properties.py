"""What holds for any fleet: accepted means disjoint, what is proposed is free, and no newcomer needs others to move."""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import IPv4Network
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from domain.fleet import Fleet, check_fleet, parse_fleet
from domain.overlay import NETBIRD_RANGE
from domain.places.hetzner.model import PLACEMENT_GROUP_LIMIT
from domain.plan import address_plan
from domain.plan_report import fleet_report
from domain.range_rules import ranges_of
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, changed, data_of, text

FREE = re.compile(r"(\S+) is free")
SMALL = st.sampled_from([16, 17, 18, 20, 22])
POOLS = st.sampled_from(["10.0.0.0/8", "172.16.0.0/13", "192.168.0.0/16", "100.64.0.0/10"])


@st.composite
def networks(draw: st.DrawFn, sizes: st.SearchStrategy[int] = SMALL) -> IPv4Network:
    """A private network of a random size; now and then one in NetBird's range."""
    pool = IPv4Network(draw(POOLS if draw(st.integers(0, 7)) == 0 else st.just("10.0.0.0/8")))
    size = max(draw(sizes), pool.prefixlen)
    number = draw(st.integers(0, (1 << (size - pool.prefixlen)) - 1))
    return IPv4Network((int(pool.network_address) + (number << (32 - size)), size))


@st.composite
def clusters(draw: st.DrawFn, number: int, names: list[str]) -> dict[str, Any]:
    """A cluster of any kind, with any number of nodes, that is right by itself, as far as its ranges are."""
    base = draw(st.sampled_from([DE, MN, GIVEN]))
    pods, services = draw(networks()), draw(networks())
    changes: dict[str, Any] = {
        "network.pod_cidr": str(pods),
        "network.service_cidr": str(services),
        "network.dns_zone": f"{names[number]}.internal",
        "peers": [other for other in names if other != names[number]],
    }
    if (offset := draw(st.sampled_from([None, 2, 10, 52, 54, services.num_addresses - 2]))) is not None:
        changes["network.cluster_dns"] = str(services[offset])
    room = min(1 << (24 - pods.prefixlen), PLACEMENT_GROUP_LIMIT)
    nodes = draw(st.integers(1, room))
    servers = draw(st.sampled_from(range(1, nodes + 1, 2)))
    if base is DE:
        network = draw(networks(st.sampled_from([16, 20, 24])))
        size = draw(st.integers(24, 26))
        changes |= {
            "hetzner.network_cidr": str(network),
            "network.node_cidr": str(next(network.subnets(new_prefix=size))),
            "hetzner.control_plane.count": servers,
            "hetzner.workers.count": nodes - servers,
        }
        return changed(DE, changes)
    lan = draw(networks(st.integers(24, 28)))
    router = draw(st.integers(0, nodes - 1))
    machines: list[dict[str, Any]] = []
    for index in range(nodes):
        machine = {"name": f"m-{index}", "address": str(lan[index + 1]), "router": index == router}
        if base is MN:
            machine |= {"role": "server" if index < servers else "agent", "host_key": HOST_KEYS[0]}
        machines.insert(draw(st.integers(0, index)), machine)
    return changed(base, {**changes, "network.node_cidr": str(lan), "on_premise.machines": machines})


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, str]:
    """Up to five clusters of all kinds that list each other."""
    names = [f"c{number}" for number in range(draw(st.integers(1, 5)))]
    return {name: text(draw(clusters(number, names))) for number, name in enumerate(names)}


UNMOVED = ("correct the one that is not so",)
"""Of ranges of a cluster that exists already, which are what they are."""


def all_ranges(fleet: Fleet) -> list[IPv4Network]:
    return [network for draft in fleet.drafts.values() for _, network in ranges_of(draft)]


SEEN: Counter[str] = Counter()


@settings(max_examples=80)
@given(fleets())
def test_in_an_accepted_fleet_nothing_overlaps(files: dict[str, str]) -> None:
    fleet = parse_fleet(files)
    accepted = check_fleet(fleet) == []
    SEEN["accepted" if accepted else "refused"] += 1
    # Every range of every plan, those within a Hetzner network included, against NetBird's and against each other's,
    # but for the machines' networks of two clusters.
    ranges = [
        (name, setting in ("network.pod_cidr", "network.service_cidr"), network)
        for name, draft in fleet.drafts.items()
        for setting, network in ranges_of(draft)
    ]
    ranges.append(("NetBird", True, NETBIRD_RANGE))
    overlap = any(
        range_.overlaps(other) and (name == owner or routed or also_routed)
        for n, (name, routed, range_) in enumerate(ranges)
        for owner, also_routed, other in ranges[:n]
    )
    machines_share = any(
        range_.overlaps(other) and not (name == owner or routed or also_routed)
        for n, (name, routed, range_) in enumerate(ranges)
        for owner, also_routed, other in ranges[:n]
    )
    SEEN["machines of two clusters in one network"] += accepted and machines_share
    assert accepted == (not overlap)
    if not accepted:
        return
    plans = [address_plan(stack) for stack in fleet.stacks.values()]
    for plan, stack in zip(plans, fleet.stacks.values(), strict=True):
        assert plan.cluster_dns == (stack.network.cluster_dns or plan.service_cidr[10])
        assert plan.cluster_dns in plan.service_cidr
        assert len(plan.nodes) <= len(list(plan.pod_cidr.subnets(new_prefix=24)))
        assert len(plan.routers) == 1
        SEEN["several nodes"] += len(plan.nodes) > 2
        SEEN["a DNS address of its own"] += stack.network.cluster_dns is not None
        assert plan.relay_service_ip in plan.service_cidr
        assert plan.kubernetes_service in plan.service_cidr
        assert len({plan.cluster_dns, plan.relay_service_ip, plan.kubernetes_service}) == 3
        addresses = [node.address for node in plan.nodes]
        assert len(set(addresses)) == len(addresses)
        assert all(address in plan.node_cidr for address in addresses)
        for other in plans:
            if other is not plan:
                assert not any(
                    plan.pod_cidr.overlaps(range_) for range_ in (other.pod_cidr, other.service_cidr, other.node_cidr)
                )
    for link in fleet_report(fleet.stacks).links:
        assert link.source != link.target
        assert not any(network.overlaps(NETBIRD_RANGE) for network in link.destination_cidrs)


def test_both_kinds_of_fleets_were_seen() -> None:
    """The property above would say nothing if all fleets were refused."""
    if not SEEN:
        test_in_an_accepted_fleet_nothing_overlaps()
    assert SEEN["accepted"] >= 10
    assert SEEN["refused"] >= 10
    assert SEEN["several nodes"] >= 10
    assert SEEN["a DNS address of its own"] >= 10


@settings(max_examples=40)
@given(fleets())
def test_proposals_are_free_and_taking_them_ends_all_conflicts(files: dict[str, str]) -> None:
    fleet = parse_fleet(files)
    problems = check_fleet(fleet)
    proposed: list[IPv4Network] = []
    for problem in problems:
        assert "overlaps" in problem.rule
        found = [IPv4Network(range_) for range_ in FREE.findall(problem.fix)]
        assert found or (problem.fix in UNMOVED or problem.fix.startswith("neither of the two can move"))
        for proposal in found:
            assert proposal.is_private
            others = [*all_ranges(fleet), *proposed, NETBIRD_RANGE]
            if "holds network.node_cidr" in problem.fix:  # a part of the network that it replaces
                others = [other for other in others if not proposal.subnet_of(other)]
            assert not any(proposal.overlaps(other) for other in others)
            proposed.append(proposal)


def moved(config: dict[str, Any], setting: str, network: IPv4Network) -> dict[str, Any]:
    """The cluster with a range elsewhere, and with what lies in that range."""
    changes: dict[str, Any] = {setting: str(network)}
    if setting == "hetzner.network_cidr":
        changes["network.node_cidr"] = str(next(network.subnets(new_prefix=24)))
    if setting == "network.service_cidr":
        changes["network.cluster_dns"] = str(network[2])
    if setting == "network.node_cidr":
        for index, _ in enumerate(config["isthmus:on_premise"]["machines"]):
            changes[f"on_premise.machines.{index}.address"] = str(network[index + 1])
    return changed(config, changes)


def linked(files: dict[str, str], newcomer: str) -> dict[str, str]:
    """The fleet in which everybody lists the newcomer, too."""
    result = {}
    for name, content in files.items():
        config = data_of(content)["config"]
        result[name] = text(changed(config, {"peers": [*config.get("isthmus:peers", []), newcomer]}))
    return result


# Without shrinking: it takes minutes here, and the messages say enough.
@settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much], phases=[Phase.generate])
@given(fleets(), st.data())
def test_a_further_cluster_finds_room_and_moves_nobody(files: dict[str, str], data: st.DataObject) -> None:
    """Wherever its name stands among the others: taking what the messages offer to it ends all of them, or it is told
    that its LAN is in the way of a cluster that runs.
    """
    fleet = parse_fleet(files)
    assume(not check_fleet(fleet))
    name = data.draw(st.sampled_from(["a0", "c2x", "zz"]))
    running = data.draw(st.sampled_from(all_ranges(fleet)))
    alone = data.draw(clusters(0, [name]))
    if data.draw(st.booleans()):
        same_place = IPv4Network((int(running.network_address) >> 12 << 12, 20))
        alone = changed(alone, {"network.pod_cidr": str(same_place)})
    # An existing cluster whose own ranges overlap is told to correct them, and no range is free for that.
    assume(not check_fleet(parse_fleet({name: text(alone)})))
    newcomer = changed(alone, {"peers": list(files)})
    for _ in range(10):
        problems = check_fleet(parse_fleet({**linked(files, name), name: text(newcomer)}), set(files))
        if not problems:
            return
        assert problems[0].stack == name or "neither of the two can move" in problems[0].fix
        if "neither of the two can move" in problems[0].fix:
            assert "the LAN of its machines" in problems[0].rule or "of a cluster that runs" in problems[0].rule
            return
        offered = FREE.search(problems[0].fix)
        assert offered is not None
        newcomer = moved(newcomer, problems[0].setting, IPv4Network(offered[1]))
    raise AssertionError(f"no end of messages: {problems}")
