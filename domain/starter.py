"""The first stack file of a new cluster: ranges that are free in the fleet, comments that explain, and what is left.

It owns the choice of what stands in a new stack file; the words are in ``starter_text.py``. It writes nothing and knows
no files but the fleet it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any, Final

from domain.fleet import Fleet, check_fleet, with_common_mtus
from domain.names import PROJECT
from domain.overlay import NETBIRD_RANGE
from domain.places import registry
from domain.places.place import Place, StarterText
from domain.places.registry import reserved
from domain.problems import Problem, shown
from domain.range_rules import ranges_of
from domain.ranges import FreeRanges
from domain.reading import read_stack
from domain.secret_rules import needed_secrets
from domain.settings.draft import StackDraft, known
from domain.settings.installed import CiliumSettings, NetbirdSettings
from domain.settings.secrets import Secret
from domain.stack_file import StackFile, parse_stack_file, stack_file_name
from domain.starter_text import Contents, stack_file_text
from domain.values.names import stack_name
from domain.values.rule_error import RuleError
from domain.yaml_words import flow

FIRST_PODS: Final = IPv4Network("10.42.0.0/16")
"""Where the search for pod and service CIDRs begins: k3s's own defaults lie here, and people know them."""
POD_SIZES: Final = (16, 18, 20)
SERVICE_SIZES: Final = (16, 18, 20, 22)
NETWORK_SIZES: Final = (16, 20, 24)
DOCKER_RANGE: Final = IPv4Network("172.17.0.0/16")
"""Docker's default on every machine that has it; not proposed, though nothing forbids it."""

PEERS_BY_DEFAULT: Final = 4
"""Of so many other clusters at most, a new one is linked with all if nobody says with which. Every link costs a route,
policies and a listener at both ends, so nobody gets those of a larger fleet without having said so.
"""


@dataclass(frozen=True)
class Blank:
    """A place of the new file that only its user can fill in."""

    line: int
    setting: str
    meaning: str


@dataclass(frozen=True)
class PeerLine:
    """What another stack's file has to say so that the link has two ends. ``line`` is that of its peers, None where it
    has none.
    """

    stack: str
    line: int | None
    text: str

    def __str__(self) -> str:
        where = "in config" if self.line is None else f"line {self.line}"
        return f"{stack_file_name(self.stack)}, {where}: {self.text}"


@dataclass(frozen=True)
class Starter:
    """A new stack file and what is left to do. ``ranges``: setting -> range. ``unlinked`` says that peers are still to
    be chosen, ``missing_peers`` those that have no stack file yet.
    """

    stack: str
    text: str
    ranges: dict[str, IPv4Network]
    blanks: tuple[Blank, ...]
    secrets: tuple[Secret, ...]
    peer_lines: tuple[PeerLine, ...]
    unlinked: bool
    missing_peers: tuple[str, ...]


def starter(
    name: str,
    section: str,
    fleet: Fleet,
    *,
    peers: Sequence[str] | None = None,
    location: str = "fsn1",
    node_cidr: IPv4Network | None = None,
) -> Starter | list[Problem]:
    """A stack file for a new cluster of the fleet, or why there can't be one: what `./isthmus plan` would refuse of it,
    but for what its user has to fill in.

    ``peers``: by default all other stacks, of up to :data:`PEERS_BY_DEFAULT`, else none. ``section`` is that of
    the place where it stands, ``location`` where a provider has it.
    ``node_cidr``: the LAN of machines on-premise; without it, it is left to be filled in. Other stacks stay as they
    are.
    """
    chosen = _default_peers(fleet) if peers is None else list(dict.fromkeys(peers))
    place, words = _place(section)
    if problems := _unusable(name, fleet) or list(_wrong_names(name, chosen, words, location)):
        return problems
    ranges = _free_ranges(fleet, place, node_cidr)
    if isinstance(ranges, str):
        return [Problem(name, ranges, "", "has no free range left in the private ranges", "make others smaller")]
    linked = [fleet.drafts[peer] for peer in chosen if peer in fleet.drafts]
    text = stack_file_text(
        Contents(
            name=name,
            starter=words,
            ranges=ranges,
            zone=_free_zone(name, fleet),
            peers=chosen,
            location=location,
            k3s=_k3s_of([*linked, *fleet.drafts.values()]),
            netbird=_in_common(linked, "netbird", NetbirdSettings, ("management_url", "mtu", "underlay_mtu")),
            cilium=_in_common(linked, "cilium", CiliumSettings, ("mtu",)),
        )
    )
    file = parse_stack_file(name, text)
    draft = read_stack(name, file.config)
    blanks, secrets = tuple(_blanks(file)), needed_secrets(draft)
    if problems := _refused(fleet, file, draft, left={blank.setting for blank in blanks}):
        return problems
    return Starter(
        stack=name,
        text=text,
        ranges=ranges,
        blanks=blanks,
        secrets=secrets,
        peer_lines=tuple(_peer_lines(name, chosen, fleet)),
        unlinked=peers is None and bool(fleet.files) and not chosen,
        missing_peers=tuple(peer for peer in chosen if peer not in fleet.files),
    )


def _place(section: str) -> tuple[Place, StarterText]:
    return next(
        (place, place.starter) for place in registry.PLACES if place.section == section and place.starter is not None
    )


def _default_peers(fleet: Fleet) -> list[str]:
    return sorted(fleet.files) if len(fleet.files) <= PEERS_BY_DEFAULT else []


def _k3s_of(drafts: Sequence[StackDraft]) -> tuple[str, str] | None:
    """Version and checksum of k3s as the first of the clusters has them: a fleet is of one release."""
    for draft in drafts:
        version, checksum = known(draft.settings, "k3s", "version"), known(draft.settings, "k3s", "sha256")
        if version is not None and checksum is not None:
            return version, checksum
    return None


def _in_common(
    linked: Sequence[StackDraft], section: str, model: type[CiliumSettings | NetbirdSettings], names: Sequence[str]
) -> dict[str, str | int]:
    """What the first of the peers has set to something else than the default; where they differ, the plan says so."""
    values = {name: known(linked[0].settings, section, name) if linked else None for name in names}
    return {
        name: value
        for name, value in values.items()
        if value is not None and value != model.model_fields[name].get_default()
    }


def _refused(fleet: Fleet, file: StackFile, draft: StackDraft, *, left: set[str]) -> list[Problem]:
    """What the new file brings into the plan, without what is ``left`` to be filled in, secrets, and peers that do not
    list it yet or have no file. Without lines: there is no file to look at.
    """
    name = draft.stack
    # The new one comes last, since the message is for who makes it.
    whole = Fleet(files={**fleet.files, name: file}, drafts=with_common_mtus({**fleet.drafts, name: draft}))
    secrets = {secret.key.removeprefix(f"{PROJECT}:") for secret in needed_secrets(draft)}
    # Not by the whole problem: of one that is there already, the ranges that it calls free change.
    # Nor do others move for it: most of them run.
    before = {_mistake(problem) for problem in check_fleet(fleet, fleet.files)}
    return [
        replace(problem, line=None) if problem.stack == name else problem
        for problem in check_fleet(whole, fleet.files)
        if _mistake(problem) not in before
        and not problem.setting.startswith("peers")
        and not (problem.stack == name and problem.setting in left | secrets)
    ]


def _wrong_names(name: str, peers: Sequence[str], words: StarterText, location: str) -> Iterator[Problem]:
    """They go into the text, so each has to be a word."""
    checks: list[tuple[str, str, Callable[[str], str]]] = [
        ("stack", name, stack_name),
        *((f"peers.{index}", peer, stack_name) for index, peer in enumerate(peers)),
    ]
    if words.location is not None:
        checks.append((words.location[0], location, words.location[1]))
    for setting, value, rule in checks:
        try:
            rule(value)
        except RuleError as broken:
            yield Problem(name, setting, shown(value), broken.rule, broken.fix or "write it like de")
    if name in peers:
        yield Problem(name, "peers", name, "is this stack itself", "remove it")


def _mistake(problem: Problem) -> tuple[str, str, str, str]:
    return (problem.stack, problem.setting, problem.value, problem.rule)


def _unusable(name: str, fleet: Fleet) -> list[Problem]:
    if name in fleet.files:
        return [
            Problem(name, stack_file_name(name), "", "is there already, and is not overwritten", "take another name")
        ]
    # The ranges of what can't be read are unknown, so none is known to be free.
    return [problem for file in fleet.files.values() if not file.readable for problem in file.problems]


def _taken(fleet: Fleet) -> list[tuple[str, str, IPv4Network]]:
    return [(name, setting, network) for name, draft in fleet.drafts.items() for setting, network in ranges_of(draft)]


def _free_ranges(fleet: Fleet, place: Place, node_cidr: IPv4Network | None) -> dict[str, IPv4Network] | str:
    """The new cluster's ranges, or the setting for which nothing is free."""
    taken = [network for _, _, network in _taken(fleet)] + [NETBIRD_RANGE, *reserved(), DOCKER_RANGE]
    free = FreeRanges([*taken, *([] if node_cidr is None else [node_cidr])])
    ranges: dict[str, IPv4Network] = {}
    wanted: list[tuple[str, Iterable[int], IPv4Network | None]] = [
        ("network.pod_cidr", POD_SIZES, FIRST_PODS),
        ("network.service_cidr", SERVICE_SIZES, FIRST_PODS),
    ]
    if place.own_network is not None:
        wanted.append((place.own_network, NETWORK_SIZES, None))
    for setting, sizes, after in wanted:
        found = next((range_ for size in sizes if (range_ := free.take(size, after=after)) is not None), None)
        if found is None:
            return setting
        ranges[setting] = found
    if place.own_network is not None:
        network = ranges[place.own_network]
        # The second /24, so that a further subnet has the first places; the whole network where it is no larger.
        ranges["network.node_cidr"] = network if network.prefixlen == 24 else IPv4Network((int(network[256]), 24))
    elif node_cidr is not None:
        ranges["network.node_cidr"] = node_cidr
    return ranges


def _free_zone(name: str, fleet: Fleet) -> str:
    """A zone that neither is nor holds nor lies in another cluster's."""
    zones = [
        zone for draft in fleet.drafts.values() if (zone := known(draft.settings, "network", "dns_zone")) is not None
    ]

    def collides(zone: str) -> bool:
        return any(zone == other or zone.endswith(f".{other}") or other.endswith(f".{zone}") for other in zones)

    candidates = [f"{name}.internal", f"{name}.isthmus.internal", f"{name}.home.arpa"]
    candidates += [f"{name}.cluster-{number}.internal" for number in range(1, len(zones) + 2)]
    return next(zone for zone in candidates if not collides(zone) and not zone.endswith(".arpa"))


def _blanks(file: StackFile) -> Iterator[Blank]:
    """The places in angle brackets."""

    def within(setting: str, value: Any) -> Iterator[Blank]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from within(f"{setting}.{key}", inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield from within(f"{setting}.{index}", inner)
        elif isinstance(value, str) and value.startswith("<") and value.endswith(">"):
            yield Blank(file.lines[setting], setting, value[1:-1])

    for key, value in file.config.items():
        yield from within(key.removeprefix(f"{PROJECT}:"), value)


def _peer_lines(name: str, peers: Sequence[str], fleet: Fleet) -> list[PeerLine]:
    """What the peers' files lack: a link has two ends."""
    lines = []
    for peer in peers:
        draft = fleet.drafts.get(peer)
        if draft is None:
            continue
        theirs = known(draft.settings, "peers") or ()
        if name not in theirs:
            text = f"isthmus:peers: {flow([*theirs, name])}"
            lines.append(PeerLine(peer, fleet.files[peer].lines.get("peers"), text))
    return lines
