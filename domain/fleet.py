"""All stack files of one checkout together: read, checked each alone and against each other, with every mistake at
once.

It owns the comparison of stacks. It doesn't find the files: the caller reads them and passes their text.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, cast

from pydantic import BaseModel

from domain.consistency import stack_problems
from domain.marks import not_filled_in
from domain.mtu import VXLAN_OVERHEAD, MtuChain
from domain.names import PROJECT
from domain.netbird_rules import same_server
from domain.places.registry import StackSettings, problems_across, secrets
from domain.problems import Problem, bounded, in_file_order
from domain.project_file import ProjectFile
from domain.range_rules import range_problems
from domain.reading import read_stack, whole
from domain.secret_rules import needed_secrets, secret_setting
from domain.settings.draft import StackDraft, known, with_values
from domain.stack_file import StackFile, Unreadable, parse_stack_file
from domain.stack_name_rules import names_told_apart
from domain.zone_rules import fallback_zones_in_fleet, forward_servers_in_fleet, zones_over_hosts

NO_PROJECT: Final = ProjectFile()
MISSING: Final = "is missing"
"""How the rule of a problem begins that a further setting would end."""


@dataclass(frozen=True)
class Fleet:
    """Every stack file by the name of its stack; ``drafts`` lacks those that could not be read at all. ``in_project``
    are the keys of secrets that the project file holds.
    """

    files: Mapping[str, StackFile]
    drafts: Mapping[str, StackDraft]
    in_project: frozenset[str] = frozenset()

    @property
    def stacks(self) -> dict[str, StackSettings]:
        """The settings of all stacks; only of use when :func:`check_fleet` found nothing. Without those of which a part
        is only in an environment of Pulumi ESC, and without links to them.
        """
        stacks = {name: whole(draft) for name, draft in self.drafts.items() if name not in self.partial}
        if len(stacks) == len(self.drafts):
            return stacks
        return {
            name: settings.model_copy(update={"peers": tuple(peer for peer in settings.peers if peer in stacks)})
            for name, settings in stacks.items()
        }

    @functools.cached_property
    def partial(self) -> frozenset[str]:
        """Stacks with an environment whose file alone says too little for a plan."""
        return frozenset(
            name
            for name, draft in self.drafts.items()
            if self.files[name].environment
            and any(
                problem.rule.startswith(MISSING)
                and f"{PROJECT}:{problem.setting}" not in secrets()
                and problem.setting not in secrets()
                for problem in (*draft.problems, *stack_problems(draft))
            )
        )


def parse_fleet(files: Mapping[str, str | Unreadable], project: ProjectFile = NO_PROJECT) -> Fleet:
    """Reads stack files, given as stack name -> text. Whatever they hold, it returns."""
    parsed = {name: parse_stack_file(name, files[name], project.namespace) for name in sorted(files)}
    in_project = frozenset(key for key in project.config if key in secrets())
    drafts = {
        name: with_secrets_of_project(read_stack(name, {**project.config, **file.config}), file, in_project)
        for name, file in parsed.items()
        if file.readable
    }
    return Fleet(files=parsed, drafts=with_common_mtus(drafts), in_project=in_project)


def with_secrets_of_project(draft: StackDraft, file: StackFile, in_project: frozenset[str]) -> StackDraft:
    """The draft with those secrets of the project file that this kind of stack needs: they are there for all kinds."""
    if not in_project:
        return draft
    own = {key for key in draft.secrets if key not in in_project or key in file.config}
    needed = {secret.key for secret in needed_secrets(draft)}
    return replace(draft, secrets=frozenset(own | (needed & in_project)))


def with_common_mtus(drafts: Mapping[str, StackDraft]) -> dict[str, StackDraft]:
    """The drafts with each computed ``cilium.mtu`` at the least of those of all clusters that it is linked with,
    directly or over others: what pods of one may send, the nodes of the other have to pass on.

    An MTU that a file says, and the default, stay: where they do not fit, :func:`mtus_of_peers` tells the user.
    """
    result = dict(drafts)
    waiting = {name for name, draft in drafts.items() if draft.computed_cilium_mtu is not None}
    if not waiting:
        return result
    linked: dict[str, set[str]] = {name: set() for name in waiting}
    for name in waiting:
        for peer in known(drafts[name].settings, "peers") or ():
            if peer in waiting:
                linked[name].add(peer)
                linked[peer].add(name)
    while waiting:
        group, border = set(), {waiting.pop()}
        while border:
            group |= border
            border = {peer for name in border for peer in linked[name]} - group
        waiting -= group
        mtu = min(computed for name in group if (computed := drafts[name].computed_cilium_mtu) is not None)
        for name in group:
            result[name] = with_values(drafts[name], "cilium", {"mtu": mtu})
    return result


def check_fleet(fleet: Fleet, running: Collection[str] = ()) -> list[Problem]:
    """Everything that is wrong, by stack and in the order of each file, with line numbers. ``running`` are stacks that
    are known to be raised: their ranges can't move any more.
    """
    problems = [problem for file in fleet.files.values() for problem in file.problems]
    for draft in fleet.drafts.values():
        problems += [*draft.problems, *stack_problems(draft)]
    problems += range_problems(list(fleet.drafts.values()), running)
    written = _as_written(fleet)
    for rule in FLEET_RULES:
        problems += rule(written)
    return place_problems(fleet, [not_filled_in(problem) for problem in problems if not _elsewhere(fleet, problem)])


def _as_written(fleet: Fleet) -> Fleet:
    """The fleet without the defaults of stacks with an environment: what their files do not say may be said there, so
    no other stack can be refused for it.
    """
    if not any(file.environment for file in fleet.files.values()):
        return fleet
    drafts = {
        name: _only_written(draft, fleet.files[name].config) if fleet.files[name].environment else draft
        for name, draft in fleet.drafts.items()
    }
    return replace(fleet, drafts=drafts)


def _only_written(draft: StackDraft, config: Mapping[str, Any]) -> StackDraft:
    settings = cast("BaseModel", draft.settings).model_copy()
    for section in [name for name in settings.__dict__ if name != "stack"]:
        written, value = config.get(f"{PROJECT}:{section}"), settings.__dict__[section]
        if written is None:
            del settings.__dict__[section]
        elif isinstance(written, Mapping) and isinstance(value, BaseModel):
            value = settings.__dict__[section] = value.model_copy()
            for field in [name for name in value.__dict__ if name not in written]:
                del value.__dict__[field]
    return replace(draft, settings=settings)


def _elsewhere(fleet: Fleet, problem: Problem) -> bool:
    """Whether something is missing that an environment of Pulumi ESC may bring, which only Pulumi reads."""
    return problem.rule.startswith(MISSING) and fleet.files[problem.stack].environment


def place_problems(fleet: Fleet, problems: Sequence[Problem]) -> list[Problem]:
    """The problems with their lines, by stack and in the order of each file, not too many of one stack."""
    places = {name: {setting: index for index, setting in enumerate(file.lines)} for name, file in fleet.files.items()}
    ordered = sorted(problems, key=lambda problem: places[problem.stack].get(problem.setting, 0))
    placed = in_file_order(
        problem
        if problem.line is not None
        else replace(problem, line=fleet.files[problem.stack].line_of(problem.setting))
        for problem in ordered
    )
    return bounded(placed)


def check_files(files: Mapping[str, str | Unreadable]) -> list[Problem]:
    """:func:`check_fleet` of :func:`parse_fleet`."""
    return check_fleet(parse_fleet(files))


NAMES_SHOWN: Final = 10
"""Stacks that a message lists at most."""


def peers_exist(fleet: Fleet) -> Iterator[Problem]:
    """Every peer has a stack file beside the others."""
    for name, draft in fleet.drafts.items():
        for index, peer in enumerate(known(draft.settings, "peers") or ()):
            if peer not in fleet.files:
                others = [stack for stack in islice(fleet.files, NAMES_SHOWN + 2) if stack != name]
                there = ", ".join([*others[:NAMES_SHOWN], *(["..."] if len(others) > NAMES_SHOWN else [])]) or "none"
                rule = f"has no stack file Pulumi.{peer}.yaml"
                yield Problem(name, f"peers.{index}", peer, rule, f"other stacks here: {there}")


def peers_mutual(fleet: Fleet) -> Iterator[Problem]:
    """Links have two ends: the DNS relay answers only those that its own stack lists."""
    for name, draft in fleet.drafts.items():
        for index, peer in enumerate(known(draft.settings, "peers") or ()):
            other = fleet.drafts.get(peer)
            if other is None or peer == name:
                continue
            theirs = known(other.settings, "peers")
            if theirs is not None and name not in theirs:
                rule = f"does not list {name} in turn; a link has two ends, and its relay would not answer"
                yield Problem(name, f"peers.{index}", peer, rule, f"add {name} to peers of {peer}")


def no_secret_in_project(fleet: Fleet) -> Iterator[Problem]:
    """No secret stands in the project file, where Pulumi encrypts nothing."""
    left = set(fleet.in_project)
    rule = "stands in plain text in the project file, where Pulumi encrypts nothing"
    for name, draft in fleet.drafts.items():
        for secret in needed_secrets(draft):
            if secret.key in fleet.in_project and secret.key not in fleet.files[name].config:
                left.discard(secret.key)
                fix = f"take it out there, make a new one and set it: `{secret.command.format(stack=name)}`"
                yield Problem(name, secret_setting(secret), "", rule, fix)
    for name in list(fleet.drafts)[:1]:
        for key in sorted(left):
            yield Problem(name, secret_setting(secrets()[key]), "", rule, "take it out there, and make a new one")


def zones_distinct(fleet: Fleet) -> Iterator[Problem]:
    """No two clusters have the same zone, and none lies within another's."""
    owners: dict[str, str] = {}
    for name, draft in fleet.drafts.items():
        zone = known(draft.settings, "network", "dns_zone")
        if zone is None:
            continue
        if zone in owners:
            rule = f"is the zone of {owners[zone]}, too; a name has to say which cluster is meant"
            yield Problem(
                name, "network.dns_zone", zone, rule, f"take another one, like {name}.{zone.split('.', 1)[1]}"
            )
        else:
            owners[zone] = name
    for zone, name in owners.items():
        labels = zone.split(".")
        for above in (".".join(labels[start:]) for start in range(1, len(labels))):
            if above in owners and owners[above] != name:
                rule = f"lies in {above}, the zone of {owners[above]}; names of one would be taken for the other's"
                yield Problem(name, "network.dns_zone", zone, rule, "take a zone beside it")


def forward_zones_of_nobody(fleet: Fleet) -> Iterator[Problem]:
    """A forwarded zone is not that of another cluster: a link serves those."""
    owners = {
        zone: name
        for name, draft in fleet.drafts.items()
        if (zone := known(draft.settings, "network", "dns_zone")) is not None
    }
    for name, draft in fleet.drafts.items():
        for zone in known(draft.settings, "dns", "forward_zones") or {}:
            labels = zone.split(".")
            for above in (".".join(labels[start:]) for start in range(len(labels))):
                if owners.get(above, name) != name:
                    rule = f"lies in {above}, the zone of {owners[above]}, whose names come by the link"
                    fix = f"remove it; {owners[above]} in peers is enough"
                    yield Problem(name, f"dns.forward_zones.{zone}", "", rule, fix)


def zones_beside_hosts(fleet: Fleet) -> Iterator[Problem]:
    """No zone covers a host that the settings of a peer name: its pods would not find it any more."""
    yield from zones_over_hosts(fleet.drafts)


def forward_servers_outside(fleet: Fleet) -> Iterator[Problem]:
    """The servers of a forwarded zone are not in the ranges of another cluster."""
    yield from forward_servers_in_fleet(fleet.drafts)


def fallback_zones_beside(fleet: Fleet) -> Iterator[Problem]:
    """The zone of fallback names is apart from the zones of all clusters."""
    yield from fallback_zones_in_fleet(fleet.drafts)


def _fits(draft: StackDraft) -> bool:
    """False where the MTUs don't fit within the stack itself, which is a problem of its own."""
    cilium, netbird = known(draft.settings, "cilium", "mtu"), known(draft.settings, "netbird", "mtu")
    return netbird is None or MtuChain(netbird=netbird, cilium=cilium).fits


def mtus_of_peers(fleet: Fleet) -> Iterator[Problem]:
    """What the pods of one end may send, the nodes of the other can pass on to theirs: else large packets vanish."""
    for name, draft in fleet.drafts.items():
        mine = known(draft.settings, "cilium", "mtu")
        for peer in dict.fromkeys(known(draft.settings, "peers") or ()):
            other = fleet.drafts.get(peer)
            theirs = None if other is None or peer == name else known(other.settings, "cilium", "mtu")
            if mine is None or theirs is None or mine <= theirs or not _fits(draft):
                continue
            rule = (
                f"lets pods send packets of {mine - VXLAN_OVERHEAD} bytes, and {peer} with cilium.mtu {theirs} "
                f"passes on {theirs - VXLAN_OVERHEAD}; linked clusters need the same"
            )
            yield Problem(name, "cilium.mtu", str(mine), rule, f"write {theirs} here, or {mine} in {peer}")


def one_netbird_server(fleet: Fleet) -> Iterator[Problem]:
    """Linked clusters are peers of one NetBird server; routers of two servers never learn of each other."""
    for name, other in linked_pairs(fleet):
        first, second = (known(fleet.drafts[stack].settings, "netbird", "management_url") for stack in (name, other))
        if first is not None and second is not None and not same_server(first, second):
            rule = f"is not {first}, the NetBird server of {name}; routers of two servers never learn of each other"
            fix = f"write {first} here, or {second} in {name}"
            yield Problem(other, "netbird.management_url", second, rule, fix)


def linked_pairs(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """Every two clusters of which one lists the other, in the order of their names."""
    pairs = {
        (min(name, peer), max(name, peer))
        for name, draft in fleet.drafts.items()
        for peer in known(draft.settings, "peers") or ()
        if peer != name and peer in fleet.drafts
    }
    yield from sorted(pairs)


def stack_names_told_apart(fleet: Fleet) -> Iterator[Problem]:
    """No stack's name is such that what it has in NetBird could be another's."""
    yield from names_told_apart(fleet.drafts)


def one_checksum_of_a_release(fleet: Fleet) -> Iterator[Problem]:
    """A release of k3s has one checksum for each architecture, in every stack file."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    of = {"sha256": "`k3s` from sha256sum-amd64.txt", "sha256_arm64": "`k3s-arm64` from sha256sum-arm64.txt"}
    for (name, draft), setting in itertools.product(fleet.drafts.items(), of):
        version, checksum = known(draft.settings, "k3s", "version"), known(draft.settings, "k3s", setting)
        if version is None or checksum is None:
            continue
        owner, other = first.setdefault((version, setting), (name, checksum))
        if checksum != other:
            rule = f"is not {other}, which {owner} has for the same k3s.version {version}; one of the two is wrong"
            fix = f"copy that of {of[setting]} of the release into both"
            yield Problem(name, f"k3s.{setting}", checksum, rule, fix)


def names_of_machines_apart(fleet: Fleet) -> Iterator[Problem]:
    """No two stacks at Hetzner have a server or a placement group of one name, which a project has once."""
    yield from problems_across(fleet.drafts)


FLEET_RULES: Final[tuple[Callable[[Fleet], Iterator[Problem]], ...]] = (
    peers_exist,
    peers_mutual,
    no_secret_in_project,
    zones_distinct,
    forward_zones_of_nobody,
    zones_beside_hosts,
    forward_servers_outside,
    fallback_zones_beside,
    mtus_of_peers,
    one_netbird_server,
    one_checksum_of_a_release,
    stack_names_told_apart,
    names_of_machines_apart,
)
