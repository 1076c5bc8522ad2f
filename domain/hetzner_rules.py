"""Rules for where and what kind the servers at Hetzner are, by the program's own list (``hetzner_catalogue.py``).

It owns what is said without asking anybody; what Hetzner itself says is ``hetzner_offer.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.hetzner_catalogue import (
    LIST_DATE,
    NETWORK_ZONES,
    RETIRED,
    SERVER_TYPES,
    is_arm,
    near_location,
    near_server_type,
    proposal,
)
from domain.problems import Problem
from domain.settings import StackDraft, known

POOLS: Final = ("control_plane", "workers")
"""The settings that name a server type."""


def location_listed(draft: StackDraft) -> Iterator[Problem]:
    """The location is one of the list, or the stack file vouches for it."""
    location = known(draft.settings, "hetzner", "location")
    if location is None or location in NETWORK_ZONES or location in _unlisted(draft):
        return
    setting, zones = "hetzner.location", set(NETWORK_ZONES.values())
    near, there = near_location(location), ", ".join(NETWORK_ZONES)
    if location in zones:
        there = ", ".join(one for one, zone in NETWORK_ZONES.items() if zone == location)
        yield Problem(draft.stack, setting, location, "is a network zone, not a location", f"take one of it: {there}")
    elif near is not None and location.startswith(f"{near}-"):
        rule = "is a datacenter, which Hetzner's API knows no more; servers stand in a location"
        yield Problem(draft.stack, setting, location, rule, f"write {near}")
    else:
        rule = f"is not among Hetzner's locations as of {LIST_DATE} ({there})"
        yield Problem(draft.stack, setting, location, rule, _past(near, "take one of them"))


def location_in_zone(draft: StackDraft) -> Iterator[Problem]:
    """The network zone is that of the location."""
    location, zone = known(draft.settings, "hetzner", "location"), known(draft.settings, "hetzner", "network_zone")
    right = NETWORK_ZONES.get(location)
    if zone is not None and right is not None and zone != right:
        yield Problem(
            draft.stack, "hetzner.network_zone", zone, f"is not the zone of location {location}", f"write {right}"
        )


def x86_servers(draft: StackDraft) -> Iterator[Problem]:
    """No Arm servers: k3s.sha256 is the checksum of one architecture."""
    location = known(draft.settings, "hetzner", "location") or ""
    for setting, server_type in _server_types(draft):
        if is_arm(server_type):
            yield Problem(
                draft.stack,
                setting,
                server_type,
                "is an Arm server; k3s.sha256 is the checksum of the x86 binary",
                f"take an x86 type such as {proposal(server_type, location)}",
            )


def server_types_listed(draft: StackDraft) -> Iterator[Problem]:
    """Every x86 server type can be had, and can be had in the location, or the stack file vouches for it."""
    location = known(draft.settings, "hetzner", "location")
    if location is None:
        return
    for setting, server_type in _server_types(draft):
        listed = SERVER_TYPES.get(server_type)
        if server_type in _unlisted(draft) or is_arm(server_type):
            continue
        if server_type in RETIRED:
            rule = f"is of a former generation, of which Hetzner makes no new servers (as of {LIST_DATE})"
            fix = f"take {proposal(server_type, location)}; where servers of it run, name it in hetzner.unlisted"
            yield Problem(draft.stack, setting, server_type, rule, fix)
        elif listed is None:
            near = near_server_type(server_type, location)
            rule = f"is not among Hetzner's server types as of {LIST_DATE}"
            fix = _past(near, f"take one such as {proposal(server_type, location)}")
            yield Problem(draft.stack, setting, server_type, rule, fix)
        elif location in NETWORK_ZONES and location not in listed.locations:
            places = ", ".join(one for one in NETWORK_ZONES if one in listed.locations)
            rule = f"is not to be had in {location}, only in {places} (as of {LIST_DATE})"
            fix = f"take one such as {proposal(server_type, location)}; {_PAST}"
            yield Problem(draft.stack, setting, server_type, rule, fix)


_PAST: Final = "if Hetzner has it by now, name it in hetzner.unlisted"


def _past(near: str | None, otherwise: str) -> str:
    """What may have been meant, or what else to take, and the way past the list."""
    return f"{otherwise if near is None else f'take {near}, if that is meant'}; {_PAST}"


def _unlisted(draft: StackDraft) -> tuple[str, ...]:
    return known(draft.settings, "hetzner", "unlisted") or ()


def _server_types(draft: StackDraft) -> Iterator[tuple[str, str]]:
    """The settings with the server types that they name."""
    for pool in POOLS:
        if (server_type := known(draft.settings, "hetzner", pool, "server_type")) is not None:
            yield f"hetzner.{pool}.server_type", server_type


HETZNER_RULES: Final = (location_listed, location_in_zone, x86_servers, server_types_listed)
