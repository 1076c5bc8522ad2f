"""Rules for servers at Hetzner: where they are, of what kind by the program's own list (``catalogue.py``), how
many, in what network.

It owns what is said without asking anybody; what Hetzner itself says is ``offer.py``'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final

from domain.overlay import PEER_NAME_LIMIT, router_hostname
from domain.places.hetzner.catalogue import (
    LIST_DATE,
    NETWORK_ZONES,
    RETIRED,
    SERVER_TYPES,
    is_arm,
    near_location,
    near_server_type,
    proposal,
)
from domain.places.hetzner.groups import TODAYS, groups, pools
from domain.places.hetzner.model import PLACEMENT_GROUP_LIMIT
from domain.places.hetzner.nodes import AGENT_OFFSET, HETZNER_NODE_PREFIX, SERVER_OFFSET, members
from domain.places.hetzner.pool_rules import POOL_RULES
from domain.problems import Problem, shown
from domain.ranges import example_subnet
from domain.secret_texts import holds_secret, names_secret
from domain.settings.draft import StackDraft, known

SHOWN_NODES: Final = 12
"""As many nodes as a message names."""
GATEWAY: Final = IPv4Address("172.31.1.1")
"""Gateway of the public interface of every server, so it must not lie in a range of the cluster."""


def location_listed(draft: StackDraft) -> Iterator[Problem]:
    """Every location is one of the list, or the stack file vouches for it."""
    places = {"hetzner.location": known(draft.settings, "hetzner", "location")}
    places |= {group.location_setting: group.location for group in groups(draft)}
    for setting, location in places.items():
        if location is None or location in NETWORK_ZONES or location in _unlisted(draft):
            continue
        zones, near, there = set(NETWORK_ZONES.values()), near_location(location), ", ".join(NETWORK_ZONES)
        if location in zones:
            there = ", ".join(place for place, zone in NETWORK_ZONES.items() if zone == location)
            rule, fix = "is a network zone, not a location", f"take one of it: {there}"
        elif near is not None and location.startswith(f"{near}-"):
            rule = "is a datacenter, which Hetzner's API knows no more; servers stand in a location"
            fix = f"write {near}"
        else:
            rule = f"is not among Hetzner's locations as of {LIST_DATE} ({there})"
            fix = _past(near, "take one of them")
        yield Problem(draft.stack, setting, location, rule, fix)


def location_in_zone(draft: StackDraft) -> Iterator[Problem]:
    """The network zone is that of the location."""
    location, zone = known(draft.settings, "hetzner", "location"), known(draft.settings, "hetzner", "network_zone")
    right = NETWORK_ZONES.get(location)
    if zone is not None and right is not None and zone != right:
        yield Problem(
            draft.stack, "hetzner.network_zone", zone, f"is not the zone of location {location}", f"write {right}"
        )


def arm_servers(draft: StackDraft) -> Iterator[Problem]:
    """Arm servers need the checksum of k3s for Arm."""
    if known(draft.settings, "k3s", "sha256_arm64") is not None or _lacks(draft, "k3s"):
        return
    for group in groups(draft):
        if group.server_type is not None and is_arm(group.server_type):
            yield Problem(
                draft.stack,
                f"{group.setting}.server_type",
                group.server_type,
                "is an Arm server, and k3s.sha256 is the checksum of the x86 binary alone",
                "add k3s.sha256_arm64, or take an x86 type such as "
                f"{proposal(group.server_type, group.location or '')}",
            )


def _lacks(draft: StackDraft, section: str) -> bool:
    """Whether the section is missing or was refused: then nobody knows what it says of Arm."""
    return not hasattr(known(draft.settings, section), "sha256_arm64")


def server_types_listed(draft: StackDraft) -> Iterator[Problem]:
    """Every server type can be had, and can be had in its location, or the stack file vouches for it."""
    for group in groups(draft):
        server_type, location, setting = group.server_type, group.location, f"{group.setting}.server_type"
        if server_type is None or location is None or server_type in _unlisted(draft):
            continue
        arm = is_arm(server_type)
        if arm and known(draft.settings, "k3s", "sha256_arm64") is None:
            continue
        listed, near_by = SERVER_TYPES.get(server_type), proposal(server_type, location, arm=arm)
        if server_type in RETIRED:
            rule = f"is of a former generation, of which Hetzner makes no new servers (as of {LIST_DATE})"
            fix = f"take {near_by}; where servers of it run, name it in hetzner.unlisted"
        elif listed is None:
            near = near_server_type(server_type, location, arm=arm)
            rule = f"is not among Hetzner's server types as of {LIST_DATE}"
            fix = _past(near, f"take one such as {near_by}")
        elif location in NETWORK_ZONES and location not in listed.locations:
            places = ", ".join(place for place in NETWORK_ZONES if place in listed.locations)
            rule = f"is not to be had in {location}, only in {places} (as of {LIST_DATE})"
            fix = f"take one such as {near_by}; {_PAST}"
        else:
            continue
        yield Problem(draft.stack, setting, server_type, rule, fix)


_PAST: Final = "if Hetzner has it by now, name it in hetzner.unlisted"


def _past(near: str | None, otherwise: str) -> str:
    """What may have been meant, or what else to take, and the way past the list."""
    return f"{otherwise if near is None else f'take {near}, if that is meant'}; {_PAST}"


def _unlisted(draft: StackDraft) -> tuple[str, ...]:
    return known(draft.settings, "hetzner", "unlisted") or ()


def nodes_in_hetzner_network(draft: StackDraft) -> Iterator[Problem]:
    """The node CIDR is a subnet of the Hetzner network, large enough for the servers' fixed places."""
    nodes, network = known(draft.settings, "network", "node_cidr"), known(draft.settings, "hetzner", "network_cidr")
    if nodes is None or known(draft.settings, "hetzner") is None:
        return
    if network is not None and not nodes.subnet_of(network):
        yield Problem(
            draft.stack,
            "network.node_cidr",
            str(nodes),
            f"is not in hetzner.network_cidr {network}, whose subnet it is",
            f"take {example_subnet(network)}",
        )
    if nodes.prefixlen > HETZNER_NODE_PREFIX:
        yield Problem(
            draft.stack,
            "network.node_cidr",
            str(nodes),
            f"is too small: servers lie from the {SERVER_OFFSET}th, workers from the {AGENT_OFFSET}st address on",
            f"take a /{HETZNER_NODE_PREFIX} or larger",
        )


def no_hetzner_gateway(draft: StackDraft) -> Iterator[Problem]:
    """No range of a Hetzner cluster holds the gateway of the servers' public interface."""
    if known(draft.settings, "hetzner") is None:
        return
    for setting in ("network.pod_cidr", "network.service_cidr", "hetzner.network_cidr"):
        network = known(draft.settings, *setting.split("."))
        if network is not None and GATEWAY in network:
            yield Problem(
                draft.stack,
                setting,
                str(network),
                f"holds {GATEWAY}, the gateway of every Hetzner server",
                "take a range of 10.0.0.0/8",
            )


def routers_at_hetzner(draft: StackDraft) -> Iterator[Problem]:
    """One router at least, each on a server of its own."""
    routers, own = known(draft.settings, "hetzner", "routers"), _todays_servers(draft)
    of_pools = sum(getattr(pool, "routers", 0) for pool in pools(draft).values())
    if routers is None:
        return
    if routers < 0 or (routers < 1 and not of_pools):
        reason = "gives nothing that would carry the link"
        yield Problem(draft.stack, "hetzner.routers", shown(routers), reason, "write 1, or leave it out")
    elif own and routers > own:
        reason = f"is more than the {own} servers and workers; each router needs a machine of its own"
        fix = f"take at most {own}, or raise hetzner.workers.count"
        yield Problem(draft.stack, "hetzner.routers", shown(routers), reason, fix)
    elif routers + of_pools > 1 and len(name := _longest_name(draft)) > PEER_NAME_LIMIT:
        reason = f"needs names like {name} in NetBird, where a name has at most {PEER_NAME_LIMIT} characters"
        fix = "write 1, or raise the cluster as a stack with a shorter name"
        yield Problem(draft.stack, "hetzner.routers", shown(routers), reason, fix)


def _todays_servers(draft: StackDraft) -> int | None:
    counts = [known(draft.settings, "hetzner", group, "count") for group in TODAYS]
    return None if any(count is None for count in counts) else sum(counts)


def _longest_name(draft: StackDraft) -> str:
    """In NetBird, of a node that may be a router."""
    nodes = [f"{draft.stack}-server-1"]
    nodes += [f"{draft.stack}-{name}-1" for name, pool in pools(draft).items() if getattr(pool, "routers", 0)]
    return max((router_hostname(draft.stack, node) for node in nodes), key=len)


def server_counts(draft: StackDraft) -> Iterator[Problem]:
    """An odd number of servers runs the API, and one placement group holds control plane and workers."""
    servers = known(draft.settings, "hetzner", "control_plane", "count")
    workers = known(draft.settings, "hetzner", "workers", "count")
    if servers is not None and servers % 2 == 0:
        yield Problem(
            draft.stack,
            "hetzner.control_plane.count",
            str(servers),
            "is even; etcd needs a majority, and an even number adds a machine that may fail but none that may be lost"
            if servers
            else "leaves nobody to run the API",
            f"take {servers - 1} or {servers + 1}" if servers else "take 1",
        )
    if servers is not None and workers is not None and servers + workers > PLACEMENT_GROUP_LIMIT:
        yield Problem(
            draft.stack,
            "hetzner.workers.count",
            str(workers),
            f"makes {servers + workers} servers; the spread placement group of both holds {PLACEMENT_GROUP_LIMIT}",
            f"take at most {PLACEMENT_GROUP_LIMIT - servers}, and put the others into hetzner.pools",
        )


def generations_of_nodes(draft: StackDraft) -> Iterator[Problem]:
    """Only nodes that there are have a generation."""
    generations = known(draft.settings, "hetzner", "generations")
    counts = {group: known(draft.settings, "hetzner", group, "count") for group in TODAYS}
    sizes = {name: members(pool) for name, pool in pools(draft).items()}
    if (
        not generations
        or known(draft.settings, "hetzner", "pools") is None
        or None in (*counts.values(), *sizes.values())
    ):
        return
    names = [f"{draft.stack}-server-{index + 1}" for index in range(counts["control_plane"])]
    names += [f"{draft.stack}-agent-{index + 1}" for index in range(counts["workers"])]
    names += [f"{draft.stack}-{name}-{number}" for name, numbers in sizes.items() for number in numbers or ()]
    for name in generations:
        if name not in names:
            more = len(names) - SHOWN_NODES
            there = ", ".join(names[:SHOWN_NODES]) + (f" and {more} more" if more > 0 else "")
            rule = f"names no node of this stack, which has {there}"
            yield Problem(draft.stack, f"hetzner.generations.{shown(name)}", "", rule, "remove it, or name one of them")


_DOMAIN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_LABEL_KEY: Final = re.compile(
    rf"(?=.{{0,200}}$)({_DOMAIN}(\.{_DOMAIN})*/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?", re.ASCII
)
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
OWN_LABELS: Final = "isthmus"
"""Labels that start with this are the program's own."""
RESERVED_LABELS: Final = "hetzner.cloud/"
"""Labels that start with this are Hetzner's own, and its API refuses them."""


def hetzner_labels(draft: StackDraft) -> Iterator[Problem]:
    """Labels as Hetzner takes them (https://docs.hetzner.cloud/reference/cloud#labels), and none of ours."""
    labels = known(draft.settings, "hetzner", "labels")
    for name, value in (labels or {}).items():
        setting = f"hetzner.labels.{shown(name)}"
        if not _LABEL_KEY.fullmatch(name):
            yield Problem(draft.stack, setting, "", "is not a name that a label may have", "write it like team")
        elif not _LABEL_VALUE.fullmatch(value):
            yield Problem(
                draft.stack, setting, shown(value), "is not a value that a label may have", "write it like platform"
            )
        elif name.startswith(OWN_LABELS):
            yield Problem(draft.stack, setting, "", "is a label of this program", "take another name")
        elif name.startswith(RESERVED_LABELS):
            rule = f"begins with {RESERVED_LABELS}, which Hetzner keeps for itself"
            yield Problem(draft.stack, setting, "", rule, "take another name")
        elif value and (names_secret(name) or holds_secret(value)):
            rule = "is a secret, and stands here in plain text"
            fix = "remove it, and make a new one, since this one has been in the file"
            yield Problem(draft.stack, setting, "", rule, fix)


HETZNER_RULES: Final = (
    nodes_in_hetzner_network,
    no_hetzner_gateway,
    location_listed,
    location_in_zone,
    arm_servers,
    server_types_listed,
    routers_at_hetzner,
    server_counts,
    *POOL_RULES,
    generations_of_nodes,
    hetzner_labels,
)
