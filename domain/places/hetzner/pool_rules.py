"""Rules for pools at Hetzner: how many servers each has, where they lie, what they are marked with.

It owns what keeps pools out of each other's way. Kinds and places of servers are ``rules.py``'s, as for all groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any, Final

from domain.places.hetzner.catalogue import NETWORK_ZONES
from domain.places.hetzner.groups import pools
from domain.places.hetzner.model import NETWORK_LIMIT
from domain.places.hetzner.nodes import HETZNER_NODE_PREFIX, members, node_count, placement
from domain.problems import Problem, shown
from domain.secret_texts import holds_secret, names_secret
from domain.settings.draft import StackDraft, known
from domain.values.forwarders import FORWARD_SERVERS_LIMIT

GROUPS_LIMIT: Final = 50
"""Placement groups of a Hetzner project (https://docs.hetzner.com/cloud/placement-groups/overview)."""
USUAL_PREFIX: Final = 28
"""Of a pool's range that is proposed where nobody knows how many servers it is to have."""


def pool_sizes(draft: StackDraft) -> Iterator[Problem]:
    """A pool has either a count or the numbers of its members, each once."""
    for name, pool in pools(draft).items():
        setting = _setting(name)
        if not (hasattr(pool, "count") and hasattr(pool, "members")):
            continue
        count, numbers = pool.count, pool.members
        if count is None and not numbers:
            yield Problem(draft.stack, f"{setting}.count", "", "is missing", "write count: 3, or members: [1, 3]")
        elif count is not None and numbers:
            rule = f"stands beside count {count}; one of the two says which servers there are"
            fix = "remove count, or remove members where the numbers are those from 1 on"
            yield Problem(draft.stack, f"{setting}.members", "", rule, fix)
        for index, number in enumerate(numbers):
            if number in numbers[:index]:
                place = f"{setting}.members.{index}"
                yield Problem(draft.stack, place, str(number), "stands there twice", "remove one of them")


def pool_addresses(draft: StackDraft) -> Iterator[Problem]:
    """A pool's range lies in the node CIDR, behind the places of control plane and workers, holds the highest of its
    numbers, and touches no other pool's.
    """
    nodes, before = known(draft.settings, "network", "node_cidr"), dict[str, IPv4Network]()
    for name, pool in pools(draft).items():
        addresses = getattr(pool, "addresses", None)
        if addresses is None or nodes is None or nodes.prefixlen > HETZNER_NODE_PREFIX:
            continue
        kept = next(nodes.subnets(new_prefix=HETZNER_NODE_PREFIX))
        other = next((earlier for earlier, taken in before.items() if addresses.overlaps(taken)), None)
        highest = max(members(pool) or (0,))
        prefix, rule = addresses.prefixlen, None
        if not addresses.subnet_of(nodes):
            rule = f"is not in network.node_cidr {nodes}"
        elif addresses.overlaps(kept):
            rule = f"overlaps {kept}, where control plane and workers lie"
        elif other is not None:
            rule = f"overlaps {_setting(other)}.addresses {before[other]}; every pool needs its own"
        elif highest > addresses.num_addresses - 2:
            prefix = 32 - (highest + 1).bit_length()
            rule = f"holds {addresses.num_addresses - 2} servers, and the pool has one with the number {highest}"
        before[name] = addresses
        if rule is not None:
            fix = _free(draft, name, nodes, prefix)
            yield Problem(draft.stack, f"{_setting(name)}.addresses", str(addresses), rule, fix)


def _free(draft: StackDraft, name: str, nodes: IPv4Network, prefix: int) -> str:
    """A range of this size that no other pool has, that of the same beginning first: then nobody moves."""
    kept = next(nodes.subnets(new_prefix=HETZNER_NODE_PREFIX))
    others = [pool.addresses for other, pool in pools(draft).items() if other != name and hasattr(pool, "addresses")]
    own = pools(draft)[name].addresses
    candidates = [own.supernet(new_prefix=prefix)] if prefix < own.prefixlen else []
    if candidates and candidates[0].network_address != own.network_address:
        candidates = []
    if prefix >= nodes.prefixlen:
        candidates += list(nodes.subnets(new_prefix=prefix))
    for candidate in candidates:
        if candidate.subnet_of(nodes) and not any(candidate.overlaps(taken) for taken in (kept, *others)):
            return f"take {candidate}, which is free"
    return f"nothing of that size is free in {nodes}: give the cluster a larger node CIDR when it is raised anew"


def pool_locations(draft: StackDraft) -> Iterator[Problem]:
    """A pool stands in the network zone of the stack, since a private network has one."""
    zone = known(draft.settings, "hetzner", "network_zone")
    for name, pool in pools(draft).items():
        location = getattr(pool, "location", None)
        other = NETWORK_ZONES.get(location or "")
        if location is not None and zone in NETWORK_ZONES.values() and other is not None and other != zone:
            there = ", ".join(place for place, its in NETWORK_ZONES.items() if its == zone)
            rule = f"is in the network zone {other}, and the private network of the stack is in {zone}"
            yield Problem(draft.stack, f"{_setting(name)}.location", location, rule, f"take one of {zone}: {there}")


def pool_limits(draft: StackDraft) -> Iterator[Problem]:
    """A private network holds 100 servers, and a project 50 placement groups."""
    found, servers = pools(draft), node_count(draft.settings)
    if not found or servers is None:
        return
    if servers > NETWORK_LIMIT:
        rule = f"makes {servers} servers with control plane and workers; a private network of Hetzner's takes"
        yield Problem(
            draft.stack, "hetzner.pools", "", f"{rule} {NETWORK_LIMIT}", f"take {servers - NETWORK_LIMIT} out"
        )
    groups = {placement(name, number) for name, pool in found.items() for number in members(pool) or ()}
    if len(groups) + 1 > GROUPS_LIMIT:
        rule = f"makes {len(groups) + 1} placement groups, one for every ten numbers of a pool; a project has"
        fix = "give pools fewer and lower numbers"
        yield Problem(draft.stack, "hetzner.pools", "", f"{rule} {GROUPS_LIMIT}", fix)


def pool_routers(draft: StackDraft) -> Iterator[Problem]:
    """A router of a pool is one of its servers, with no taint, and a peer's DNS relay can ask all routers."""
    total = known(draft.settings, "hetzner", "routers") or 0
    for name, pool in pools(draft).items():
        routers, there = getattr(pool, "routers", 0), members(pool)
        total += routers
        setting = f"{_setting(name)}.routers"
        if there is not None and routers > len(there):
            rule = f"is more than the {len(there)} servers of the pool; each router needs a machine of its own"
            yield Problem(draft.stack, setting, str(routers), rule, f"take at most {len(there)}")
        elif routers and getattr(pool, "taints", ()):
            rule = "makes routers of servers with taints, which NetBird's operator lets no agent tolerate"
            yield Problem(draft.stack, setting, str(routers), rule, "write 0, or remove the pool's taints")
        elif routers and total > FORWARD_SERVERS_LIMIT:
            rule = f"makes {total} routers; a peer's DNS relay asks at most {FORWARD_SERVERS_LIMIT}"
            fix = f"take at most {max(0, FORWARD_SERVERS_LIMIT - total + routers)}"
            yield Problem(draft.stack, setting, str(routers), rule, fix)


def pool_marks(draft: StackDraft) -> Iterator[Problem]:
    """No two taints of a pool have the same key and effect, and no label holds a secret."""
    for name, pool in pools(draft).items():
        yield from _doubled_taints(draft.stack, _setting(name), getattr(pool, "taints", ()))
        for label, value in (getattr(pool, "labels", None) or {}).items():
            if value and (names_secret(label) or holds_secret(value)):
                rule = "is a secret, and stands here in plain text"
                fix = "remove it, and make a new one, since this one has been in the file"
                yield Problem(draft.stack, f"{_setting(name)}.labels.{shown(label)}", "", rule, fix)


def _doubled_taints(stack: str, setting: str, taints: Any) -> Iterator[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for index, taint in enumerate(taints):
        before, _, effect = taint.rpartition(":")
        key = before.partition("=")[0], effect
        if key in seen:
            rule = f"has the key and the effect of {seen[key]}; Kubernetes takes one of them"
            yield Problem(stack, f"{setting}.taints.{index}", taint, rule, "remove one of them")
        seen.setdefault(key, taint)


def _setting(name: str) -> str:
    return f"hetzner.pools.{shown(name)}"


POOL_RULES: Final = (pool_sizes, pool_addresses, pool_locations, pool_limits, pool_routers, pool_marks)
