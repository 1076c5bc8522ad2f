"""Names that a project at Hetzner has once: of its servers, and of its placement groups, whichever stack they are of.

A pool alone can give one that another stack gives as well: the pool x-db of ``de`` and the pool db of ``de-x`` both
have a server de-x-db-1. Which project a stack is in follows from its token, which no other stack knows; so names are
apart over all of them. Equal names elsewhere do no harm: Nodes, routers in NetBird and keepers are told by their
cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from domain.places.hetzner.groups import TODAYS, pools
from domain.places.hetzner.nodes import members, placement, placement_group, server_name
from domain.places.hetzner.words import POOL_NAME_LIMIT
from domain.problems import Problem, shown
from domain.settings.draft import StackDraft, known

_SERVERS = {"control_plane": "server", "workers": "agent"}
"""What the nodes of a group are called by."""


def names_apart(drafts: Mapping[str, StackDraft]) -> Iterator[Problem]:
    """No two stacks have a server, or a placement group, of one name: a project has it once. Found at a pool, which can
    be called otherwise.
    """
    made = {stack: _names(draft) for stack, draft in drafts.items()}
    owners: dict[str, tuple[str, str]] = {}
    told = set()
    for stack, names in made.items():
        for name, group in names.items():
            before = owners.setdefault(name, (stack, group))
            if before[0] == stack or (stack, group, before) in told:
                continue
            told.add((stack, group, before))
            here, there = ((stack, group), before) if group not in TODAYS else (before, (stack, group))
            rule = f"makes {name}, as {_setting(there[1])} of {there[0]} does; a project has each name once"
            fix = f"take another name for the pool, like {_free(drafts[here[0]], here[1], made)}"
            if there[1] not in TODAYS:
                fix += f", or for that of {there[0]}; change the one that does not run yet"
            yield Problem(here[0], _setting(here[1]), "", rule, fix)


def _names(draft: StackDraft) -> dict[str, str]:
    """What it makes, in words, with the group in whose settings that stands."""
    found: dict[str, str] = {}
    if known(draft.settings, "hetzner") is None:
        return found
    found[_group_words(draft.stack)] = TODAYS[0]
    for group in TODAYS:
        for number in range(1, (known(draft.settings, "hetzner", group, "count") or 0) + 1):
            found[_server_words(draft.stack, _SERVERS[group], number)] = group
    for name, pool in pools(draft).items():
        found |= dict.fromkeys(_of_pool(draft.stack, name, members(pool) or ()), name)
    return found


def _of_pool(stack: str, name: str, numbers: tuple[int, ...]) -> Iterator[str]:
    for number in numbers:
        yield _server_words(stack, name, number)
        yield _group_words(stack, placement(name, number))


def _server_words(stack: str, group: str, number: int) -> str:
    return f"the server {server_name(stack, group, number)}"


def _group_words(stack: str, behind: str = "") -> str:
    return f"the placement group {placement_group(stack, behind)}"


def _free(draft: StackDraft, pool: str, made: Mapping[str, Mapping[str, str]]) -> str:
    """A name for this pool with which it makes nothing that is there."""
    numbers, begins = members(pools(draft)[pool]) or (), pool[: POOL_NAME_LIMIT - 2]
    taken = {name for names in made.values() for name in names}
    number = 2
    while taken.intersection(_of_pool(draft.stack, f"{begins}{number}", numbers)):
        number += 1
    return f"{begins}{number}"


def _setting(group: str) -> str:
    return f"hetzner.{group}" if group in TODAYS else f"hetzner.pools.{shown(group)}"
