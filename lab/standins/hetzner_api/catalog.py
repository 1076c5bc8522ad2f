"""What the API offers and no client changes: locations, server types, images. Numbers follow the public catalogue.

All images boot the lab's one Debian tree, and cores, memory and disk are only told, not enforced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Architecture = Literal["x86", "arm"]

INCLUDED_TRAFFIC_BYTES = 20 * 2**40


@dataclass(frozen=True)
class Location:
    """A place where servers stand; servers of one network need subnets in the location's network zone."""

    id: int
    name: str
    description: str
    country: str
    city: str
    latitude: float
    longitude: float
    network_zone: str


@dataclass(frozen=True)
class ServerType:
    """A size of server. `memory` is in GB as the API tells it, `disk` in GB. `locations` are names; in those of
    `ended_in` there are servers of it, and no new ones.
    """

    id: int
    name: str
    cores: int
    memory: float
    disk: int
    architecture: Architecture
    cpu_type: Literal["shared", "dedicated"]
    category: str
    locations: tuple[str, ...]
    ended_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """A system image, one entry for each architecture under the same name, as in the public catalogue."""

    id: int
    name: str
    description: str
    os_flavor: str
    os_version: str
    architecture: Architecture


LOCATIONS = (
    Location(1, "fsn1", "Falkenstein DC Park 1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central"),
    Location(2, "nbg1", "Nuremberg DC Park 1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central"),
    Location(3, "hel1", "Helsinki DC Park 1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central"),
    Location(4, "ash", "Ashburn, VA", "US", "Ashburn, VA", 39.045821, -77.487073, "us-east"),
    Location(5, "hil", "Hillsboro, OR", "US", "Hillsboro, OR", 45.54222, -122.951924, "us-west"),
    Location(6, "sin", "Singapore", "SG", "Singapore", 1.283333, 103.833333, "ap-southeast"),
)
NETWORK_ZONES = frozenset(location.network_zone for location in LOCATIONS)

_EUROPE = ("fsn1", "nbg1", "hel1")
_EVERYWHERE = tuple(location.name for location in LOCATIONS)

SERVER_TYPES = (
    ServerType(114, "cx23", 2, 4, 40, "x86", "shared", "cost_optimized", _EUROPE),
    ServerType(115, "cx33", 4, 8, 80, "x86", "shared", "cost_optimized", _EUROPE),
    ServerType(116, "cx43", 8, 16, 160, "x86", "shared", "cost_optimized", _EUROPE),
    ServerType(117, "cx53", 16, 32, 320, "x86", "shared", "cost_optimized", _EUROPE),
    ServerType(108, "cpx12", 1, 2, 40, "x86", "shared", "regular_purpose", (*_EUROPE, "sin")),
    ServerType(109, "cpx22", 2, 4, 80, "x86", "shared", "regular_purpose", (*_EUROPE, "sin")),
    ServerType(110, "cpx32", 4, 8, 160, "x86", "shared", "regular_purpose", (*_EUROPE, "sin")),
    ServerType(111, "cpx42", 8, 16, 320, "x86", "shared", "regular_purpose", (*_EUROPE, "sin")),
    ServerType(112, "cpx52", 12, 24, 480, "x86", "shared", "regular_purpose", (*_EUROPE, "sin")),
    ServerType(113, "cpx62", 16, 32, 640, "x86", "shared", "regular_purpose", (*_EUROPE, "sin")),
    ServerType(22, "cpx11", 2, 2, 40, "x86", "shared", "regular_purpose", ("ash", "hil"), (*_EUROPE, "sin")),
    ServerType(23, "cpx21", 3, 4, 80, "x86", "shared", "regular_purpose", ("ash", "hil"), (*_EUROPE, "sin")),
    ServerType(24, "cpx31", 4, 8, 160, "x86", "shared", "regular_purpose", ("ash", "hil"), (*_EUROPE, "sin")),
    ServerType(25, "cpx41", 8, 16, 240, "x86", "shared", "regular_purpose", ("ash", "hil"), (*_EUROPE, "sin")),
    ServerType(26, "cpx51", 16, 32, 360, "x86", "shared", "regular_purpose", ("ash", "hil"), (*_EUROPE, "sin")),
    ServerType(45, "cax11", 2, 4, 40, "arm", "shared", "cost_optimized", _EUROPE),
    ServerType(93, "cax21", 4, 8, 80, "arm", "shared", "cost_optimized", _EUROPE),
    ServerType(94, "cax31", 8, 16, 160, "arm", "shared", "cost_optimized", _EUROPE),
    ServerType(95, "cax41", 16, 32, 320, "arm", "shared", "cost_optimized", _EUROPE),
    ServerType(96, "ccx13", 2, 8, 80, "x86", "dedicated", "general_purpose", _EVERYWHERE),
    ServerType(97, "ccx23", 4, 16, 160, "x86", "dedicated", "general_purpose", _EVERYWHERE),
    ServerType(98, "ccx33", 8, 32, 240, "x86", "dedicated", "general_purpose", _EVERYWHERE),
    ServerType(99, "ccx43", 16, 64, 360, "x86", "dedicated", "general_purpose", _EVERYWHERE),
    ServerType(100, "ccx53", 32, 128, 600, "x86", "dedicated", "general_purpose", _EVERYWHERE),
    ServerType(101, "ccx63", 48, 192, 960, "x86", "dedicated", "general_purpose", _EVERYWHERE),
)

IMAGES = (
    Image(114690387, "debian-12", "Debian 12", "debian", "12", "x86"),
    Image(114690389, "debian-12", "Debian 12", "debian", "12", "arm"),
    Image(310557660, "debian-13", "Debian 13", "debian", "13", "x86"),
    Image(310557661, "debian-13", "Debian 13", "debian", "13", "arm"),
    Image(161547269, "ubuntu-24.04", "Ubuntu 24.04", "ubuntu", "24.04", "x86"),
    Image(161547270, "ubuntu-24.04", "Ubuntu 24.04", "ubuntu", "24.04", "arm"),
)

Item = TypeVar("Item", Location, ServerType, Image)


def find(items: Iterable[Item], id_or_name: int | str) -> Item | None:
    """Return the item with this ID or name; a name of digits is an ID, as in the API."""
    wanted = int(id_or_name) if isinstance(id_or_name, str) and id_or_name.isdecimal() else id_or_name
    return next((item for item in items if wanted in (item.id, item.name)), None)


def images_for(architecture: Architecture) -> Sequence[Image]:
    """Return the images of one architecture."""
    return [image for image in IMAGES if image.architecture == architecture]


def location_named(name: str) -> Location:
    """Return the location; raise ValueError for a name that no client could have given."""
    location = find(LOCATIONS, name)
    if location is None:
        raise ValueError(f"unknown location {name}")
    return location
