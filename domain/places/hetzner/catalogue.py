"""What Hetzner Cloud offers, as far as this program knows it: locations with their network zones, and server types.

It owns the list, its date, and what may be said of a name that it lacks. It was put together by hand from what users of
Hetzner's API published of its answers (the API itself was not asked for it), so it may lack what is new, and has no
word on what is sold out today. A stack file has a way past it (``hetzner.unlisted``), and the program, which has the
token, asks Hetzner itself (``hetzner_offer.py``). The sources:

- the whole table of server types and their locations, from the API, April 2026:
  https://github.com/hetznercloud/cli/issues/1322
- which of them are deprecated where, from the API, August 2026: https://github.com/elsbrock/hetzner-radar/issues/291
- the types and places with a price on Hetzner's pages, September 2026 (cpx12 is in Europe since then):
  https://github.com/robhunter/agentdeals/pull/1286
- types of former generations: https://docs.hetzner.cloud/changelog
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

LIST_DATE: Final = "September 2026"
"""Of the newest of the sources."""

Architecture = Literal["x86", "arm"]


@dataclass(frozen=True)
class ServerType:
    """A size of server. ``memory_gb`` as Hetzner counts it; ``locations`` are those where new ones can be had."""

    architecture: Architecture
    cores: int
    memory_gb: int
    locations: frozenset[str]


NETWORK_ZONES: Final = {
    "fsn1": "eu-central",
    "nbg1": "eu-central",
    "hel1": "eu-central",
    "ash": "us-east",
    "hil": "us-west",
    "sin": "ap-southeast",
}
"""Hetzner's locations, each with its network zone."""

_CITIES: Final = {
    "falkenstein": "fsn1",
    "nuremberg": "nbg1",
    "nuernberg": "nbg1",
    "nürnberg": "nbg1",
    "helsinki": "hel1",
    "ashburn": "ash",
    "hillsboro": "hil",
    "singapore": "sin",
}

_EUROPE: Final = frozenset({"fsn1", "nbg1", "hel1"})
_AMERICA: Final = frozenset({"ash", "hil"})
_EUROPE_AND_ASIA: Final = _EUROPE | {"sin"}
_EVERYWHERE: Final = frozenset(NETWORK_ZONES)

SERVER_TYPES: Final = {
    "cx23": ServerType("x86", 2, 4, _EUROPE),
    "cx33": ServerType("x86", 4, 8, _EUROPE),
    "cx43": ServerType("x86", 8, 16, _EUROPE),
    "cx53": ServerType("x86", 16, 32, _EUROPE),
    "cpx12": ServerType("x86", 1, 2, _EUROPE_AND_ASIA),
    "cpx22": ServerType("x86", 2, 4, _EUROPE_AND_ASIA),
    "cpx32": ServerType("x86", 4, 8, _EUROPE_AND_ASIA),
    "cpx42": ServerType("x86", 8, 16, _EUROPE_AND_ASIA),
    "cpx52": ServerType("x86", 12, 24, _EUROPE_AND_ASIA),
    "cpx62": ServerType("x86", 16, 32, _EUROPE_AND_ASIA),
    "cpx11": ServerType("x86", 2, 2, _AMERICA),
    "cpx21": ServerType("x86", 3, 4, _AMERICA),
    "cpx31": ServerType("x86", 4, 8, _AMERICA),
    "cpx41": ServerType("x86", 8, 16, _AMERICA),
    "cpx51": ServerType("x86", 16, 32, _AMERICA),
    "ccx13": ServerType("x86", 2, 8, _EVERYWHERE),
    "ccx23": ServerType("x86", 4, 16, _EVERYWHERE),
    "ccx33": ServerType("x86", 8, 32, _EVERYWHERE),
    "ccx43": ServerType("x86", 16, 64, _EVERYWHERE),
    "ccx53": ServerType("x86", 32, 128, _EVERYWHERE),
    "ccx63": ServerType("x86", 48, 192, _EVERYWHERE),
    "cax11": ServerType("arm", 2, 4, _EUROPE),
    "cax21": ServerType("arm", 4, 8, _EUROPE),
    "cax31": ServerType("arm", 8, 16, _EUROPE),
    "cax41": ServerType("arm", 16, 32, _EUROPE),
}
"""The order counts: of those that would do, the first one is proposed."""

RETIRED: Final = frozenset(
    {
        *(f"cx{size}1{disk}" for size in range(1, 6) for disk in ("", "-ceph")),
        *(f"cx{size}2" for size in range(2, 6)),
        *(f"ccx{size}1" for size in range(1, 6)),
        *(f"ccx{size}2" for size in range(1, 7)),
    }
)
"""Types of former generations: servers that have them keep them, new ones can't be had."""

USUAL_MEMORY_GB: Final = 4
"""Of what is proposed for a type whose size nobody knows."""


def is_arm(server_type: str) -> bool:
    """Whether the type is of the Arm architecture: by the list, or by the family that its name tells."""
    listed = SERVER_TYPES.get(server_type)
    return server_type.startswith("cax") if listed is None else listed.architecture == "arm"


def types_in(location: str, architecture: Architecture = "x86") -> list[str]:
    """The listed types of the architecture that can be had in a location; all of them for a location that is not
    listed.
    """
    everywhere = location not in NETWORK_ZONES
    return [
        name
        for name, listed in SERVER_TYPES.items()
        if listed.architecture == architecture and (everywhere or location in listed.locations)
    ]


def proposal(server_type: str, location: str, *, arm: bool = False) -> str:
    """The type of the location that comes nearest: the next generation of the same size, or the first that has as many
    cores and as much memory. An x86 one, or with ``arm`` an Arm one where the location has any.
    """
    there = (types_in(location, "arm") if arm else []) or types_in(location)
    size = server_type.removesuffix("-ceph")[:-1]
    for name in there:
        if name[:-1] == size:
            return name
    wanted = SERVER_TYPES.get(server_type, ServerType("x86", 1, USUAL_MEMORY_GB, _EVERYWHERE))
    for name in there:
        if SERVER_TYPES[name].cores >= wanted.cores and SERVER_TYPES[name].memory_gb >= wanted.memory_gb:
            return name
    return there[-1]


def near_location(name: str) -> str | None:
    """The listed location that somebody may have meant: that of a datacenter (fsn1-dc14) or a city, or one spelled much
    alike.
    """
    if (before := name.partition("-")[0]) in NETWORK_ZONES:
        return before
    return _CITIES.get(name) or _nearest(name, NETWORK_ZONES)


def near_server_type(name: str, location: str, *, arm: bool = False) -> str | None:
    """The listed type of the location that somebody may have meant: another generation of the same size, or one spelled
    much alike.
    """
    there = types_in(location, "arm" if arm else "x86")
    return next((server_type for server_type in there if server_type[:-1] == name[:-1]), None) or _nearest(name, there)


def _nearest(name: str, names: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(name[:60], list(names), n=1, cutoff=0.7)
    return found[0] if found else None
