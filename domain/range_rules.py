"""Which address ranges of a fleet must not overlap, on which side that is mended, and with what.

It owns the relation between ranges; the arithmetic of what is free is ``ranges.py``'s. What has to be distinct:

- all ranges of one cluster, and each of them from NetBird's;
- the ranges of linked clusters, for what pods ask for must be at one end. Not the networks of their machines: a link
  carries packets of pods, under addresses of pods and of NetBird, so two sites may have the same LAN;
- the pods and services of all peers of one cluster, which have to be told apart there.

Clusters that are neither linked nor have a peer in common never meet, and may have the same ranges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from domain.overlay import NETBIRD_RANGE
from domain.places.registry import is_given, on_lan, own_network_of, reserved
from domain.problems import Problem
from domain.ranges import FreeRanges, example_subnet
from domain.settings.draft import StackDraft, known
from domain.settings.network import POD_PREFIX_MAXIMUM, SERVICE_PREFIX_MAXIMUM

PODS: Final = "network.pod_cidr"
SERVICES: Final = "network.service_cidr"
NODES: Final = "network.node_cidr"
_ROUTED: Final = (PODS, SERVICES)
_SMALLEST: Final = {PODS: POD_PREFIX_MAXIMUM, SERVICES: SERVICE_PREFIX_MAXIMUM, NODES: 26}
_SMALLEST_NETWORK: Final = 24
"""The smallest range that is proposed where none of the size that was asked for is free."""
USUAL_NETWORK: Final = 16
"""Prefix length of such a network that is proposed in place of a larger one."""

_KINDS: Final = {
    PODS: "linked clusters need distinct pod CIDRs",
    SERVICES: "linked clusters need distinct service CIDRs",
}
_MIXED: Final = "all ranges of linked clusters have to be distinct"
_OWN: Final = "all ranges of a cluster have to be distinct"


@dataclass(frozen=True)
class Range:
    """A range of a stack. ``fixed`` says why it can't be another one; empty where it can."""

    stack: str
    setting: str
    network: IPv4Network
    fixed: str = ""
    nodes: IPv4Network | None = None
    """The subnet of the servers in a network that the program makes."""

    def __str__(self) -> str:
        return f"{self.stack}: {self.setting} {self.network}"

    def overlaps(self, other: Range) -> bool:
        """Whether they share an address."""
        return self.network.overlaps(other.network)


def ranges_of(draft: StackDraft) -> list[tuple[str, IPv4Network]]:
    """The stack's ranges with their settings. A network that the program makes stands for the node CIDR within it."""
    settings = [PODS, SERVICES, own_network_of(draft) or NODES]
    found = [(setting, known(draft.settings, *setting.split("."))) for setting in settings]
    return [(setting, network) for setting, network in found if network is not None]


def range_problems(drafts: Sequence[StackDraft], running: Collection[str] = ()) -> list[Problem]:
    """Every range that overlaps NetBird's or another one that it meets, each with a range that is free for the side
    that can still move: no LAN can, nor what is of a cluster that exists. ``running`` are the stacks that are known to
    be raised already.
    """
    ranges = [range_ for draft in drafts for range_ in _ranges(draft, draft.stack in running)]
    links = _links(drafts)
    before: dict[str, list[Range]] = {draft.stack: [] for draft in drafts}
    proposals = _Proposals(ranges)
    problems = []
    for entry in ranges:
        if entry.network.overlaps(NETBIRD_RANGE):
            problems.append(_in_netbird(entry, proposals))
        elif (other := _first_met(entry, before, links)) is not None:
            moves, stays = _sides(entry, other, proposals)
            problems.append(_overlap(moves, stays, links, proposals))
            if _alone(moves, stays, proposals):
                # It has to go, whatever else it meets, and meets nothing where it goes to.
                if moves is entry:
                    continue
                before[other.stack].remove(other)
        before[entry.stack].append(entry)
    return problems


def _holds_nodes(setting: str) -> bool:
    """Whether it is a network that the program makes, with the node CIDR as its subnet."""
    return setting not in (PODS, SERVICES, NODES)


def _ranges(draft: StackDraft, runs: bool) -> Iterator[Range]:
    lan, given = on_lan(draft), is_given(draft)
    for setting, network in ranges_of(draft):
        fixed = ""
        if setting == NODES and lan:
            fixed = "the LAN of its machines"
        elif given or runs:
            fixed = "of a cluster that runs"
        nodes = known(draft.settings, "network", "node_cidr") if _holds_nodes(setting) else None
        yield Range(draft.stack, setting, network, fixed, nodes)


def _links(drafts: Sequence[StackDraft]) -> Mapping[str, frozenset[str]]:
    """The peers of each stack: those that it lists and those that list it."""
    links: dict[str, set[str]] = {draft.stack: set() for draft in drafts}
    for draft in drafts:
        for peer in known(draft.settings, "peers") or ():
            if peer != draft.stack and peer in links:
                links[draft.stack].add(peer)
                links[peer].add(draft.stack)
    return {stack: frozenset(peers) for stack, peers in links.items()}


def _first_met(
    range_: Range, before: Mapping[str, Sequence[Range]], links: Mapping[str, frozenset[str]]
) -> Range | None:
    """The first range, by address, among those before it that it must not overlap and does."""
    met = [other for other in before[range_.stack] if range_.overlaps(other)]
    for peer in links[range_.stack]:
        met += [
            other
            for other in before[peer]
            if range_.overlaps(other) and (range_.setting in _ROUTED or other.setting in _ROUTED)
        ]
    if range_.setting in _ROUTED:
        seconds = (
            {second for peer in links[range_.stack] for second in links[peer]} - links[range_.stack] - {range_.stack}
        )
        for second in seconds:
            met += [other for other in before[second] if other.setting in _ROUTED and range_.overlaps(other)]
    return min(met, key=lambda other: (other.network, other.stack), default=None)


# --- what to say -----------------------------------------------------------------------------------------------------


class _Proposals:
    """Free ranges, made when the first is asked for."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self._ranges = ranges
        self._free: FreeRanges | None = None

    def instead_of(self, range_: Range, whom: str = "") -> str:
        """What is free in place of this range, in words; ``whom`` says for whom."""
        if _holds_nodes(range_.setting) and (smaller := self.around(range_)) is not None:
            return f"{smaller} is free{whom}, and holds network.node_cidr {range_.nodes}"
        if self._free is None:
            taken = [other.network for other in self._ranges]
            self._free = FreeRanges([*taken, NETBIRD_RANGE, *reserved()])
        own = range_.network
        first = max(own.prefixlen, USUAL_NETWORK) if _holds_nodes(range_.setting) else own.prefixlen
        for prefix in range(first, max(_SMALLEST.get(range_.setting, _SMALLEST_NETWORK), first) + 1):
            if (found := self._free.take(prefix, after=own)) is not None:
                but = "" if prefix == first else f"no /{first} is left, but "
                return f"{but}{found} is free{whom}{_with_nodes(range_, found)}"
        return f"no /{own.prefixlen} is left, and nothing smaller; make other ranges smaller"

    def around(self, range_: Range) -> IPv4Network | None:
        """A smaller network that holds the servers' subnet and meets nothing, None where there is none."""
        if range_.nodes is None or not range_.nodes.subnet_of(range_.network):
            return None
        first = max(min(USUAL_NETWORK, range_.nodes.prefixlen), range_.network.prefixlen + 1)
        others = [other.network for other in self._ranges if other is not range_]
        others += [NETBIRD_RANGE, *reserved()]
        for prefix in range(first, min(range_.nodes.prefixlen, 24) + 1):
            smaller = range_.nodes.supernet(new_prefix=prefix)
            if not any(smaller.overlaps(other) for other in others):
                return smaller
        return None


def _with_nodes(range_: Range, network: IPv4Network) -> str:
    """A network of the program that moves takes the subnet of the servers with it."""
    if not _holds_nodes(range_.setting):
        return ""
    return f", with network.node_cidr {example_subnet(network)} in it"


def _in_netbird(range_: Range, proposals: _Proposals) -> Problem:
    rule = (
        f"overlaps NetBird's range {NETBIRD_RANGE}; "
        "its peers have their addresses there, and a link that covers them sends replies round in a circle"
    )
    return Problem(range_.stack, range_.setting, str(range_.network), rule, proposals.instead_of(range_))


def _sides(later: Range, other: Range, proposals: _Proposals) -> tuple[Range, Range]:
    """Which of two ranges moves, and which stays: what can, and of two a network of the program that is larger than it
    has to be; else the later one.
    """
    if later.fixed and not other.fixed:
        return other, later
    if not later.fixed and not other.fixed and proposals.around(later) is None and proposals.around(other) is not None:
        return other, later
    return later, other


def _alone(moves: Range, stays: Range, proposals: _Proposals) -> bool:
    """Whether there is no choice of which of the two moves."""
    return bool(stays.fixed) or moves.stack == stays.stack or proposals.around(moves) is not None


def _overlap(range_: Range, stays: Range, links: Mapping[str, frozenset[str]], proposals: _Proposals) -> Problem:
    """At the range that moves."""
    moves, other = range_, stays
    common = min(links[range_.stack] & links[other.stack], default="")
    if range_.stack == other.stack:
        reason = _OWN
    elif other.stack not in links[range_.stack]:
        reason = f"{common} is linked with both, and has to tell them apart"
    else:
        reason = _KINDS[range_.setting] if range_.setting == other.setting and range_.setting in _KINDS else _MIXED
    rule = f"overlaps {stays}{f', {stays.fixed}' if stays.fixed else ''}; {reason}"
    return Problem(moves.stack, moves.setting, str(moves.network), rule, _fix(moves, stays, links, common, proposals))


def _fix(moves: Range, stays: Range, links: Mapping[str, frozenset[str]], common: str, proposals: _Proposals) -> str:
    if moves.fixed and moves.stack == stays.stack:
        return "correct the one that is not so"
    if moves.fixed:
        where = moves.stack if stays.stack in links[moves.stack] else common
        return f"neither of the two can move, so take {stays.stack} out of peers of {where}"
    if _alone(moves, stays, proposals):
        return proposals.instead_of(moves)
    hold_nodes = _holds_nodes(moves.setting) or _holds_nodes(stays.setting)
    if moves.network.prefixlen == stays.network.prefixlen and not hold_nodes:
        return f"{proposals.instead_of(moves)} for the one of the two that does not run yet"
    first = proposals.instead_of(moves, f" for {moves.stack}")
    second = proposals.instead_of(stays, f" for {stays.stack}")
    return f"{first} and {second}; change what does not run yet"
