"""What Hetzner's API says it offers, compared with what a stack asks for.

It owns the reading of the API's answers (https://docs.hetzner.cloud/reference/cloud: Locations, Server Types, Images)
and the judgement. It asks nobody. A fault of what would be made is a problem; the same fault of a server that runs is a
remark, since Hetzner lets it run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.nodes import Node
from domain.places.hetzner.catalogue import USUAL_MEMORY_GB
from domain.places.hetzner.model import HetznerSettings
from domain.problems import Problem

X86: Final = "x86"
ARM: Final = "arm"
_OF_NODES: Final = {"amd64": X86, "arm64": ARM}
"""What the API calls the architecture of a node."""
NAMES_SHOWN: Final = 8
"""Server types that a message lists at most."""


@dataclass(frozen=True)
class Sale:
    """A server type in one location. ``ends`` is when no new ones can be had any more, None while nobody says so;
    ``available`` is False while it is sold out.
    """

    ends: datetime | None
    available: bool


@dataclass(frozen=True)
class OfferedType:
    """A server type as the API has it; ``sales`` by location."""

    architecture: str
    memory_gb: float
    sales: Mapping[str, Sale]


@dataclass(frozen=True)
class Offer:
    """``zones``: location -> network zone; ``image_architectures``: image, as the stack names it -> those for which
    there is one.
    """

    zones: Mapping[str, str]
    server_types: Mapping[str, OfferedType]
    image_architectures: Mapping[str, frozenset[str]]


def read_offer(
    locations: Sequence[Mapping[str, Any]],
    server_types: Sequence[Mapping[str, Any]],
    images: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Offer:
    """The offer from the objects of the API's lists; ``images`` are those of each name or id that the stack gives.

    Raises KeyError, TypeError, ValueError or AttributeError for objects of another form.
    """
    return Offer(
        zones={str(location["name"]): str(location["network_zone"]) for location in locations},
        server_types={
            str(server_type["name"]): OfferedType(
                architecture=str(server_type["architecture"]),
                memory_gb=float(server_type["memory"]),
                sales={str(place["name"]): _sale(place) for place in server_type["locations"]},
            )
            for server_type in server_types
        },
        image_architectures={
            image: frozenset(str(variant["architecture"]) for variant in found if variant["status"] == "available")
            for image, found in images.items()
        },
    )


def _sale(place: Mapping[str, Any]) -> Sale:
    deprecation = place.get("deprecation")
    return Sale(
        ends=None if deprecation is None else datetime.fromisoformat(deprecation["unavailable_after"]),
        # Older answers do not have it.
        available=bool(place.get("available", True)),
    )


@dataclass(frozen=True)
class Judgement:
    """``problems`` stop what is to be made, ``remarks`` are good to know."""

    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]


def judged(
    stack: str,
    hetzner: HetznerSettings | None,
    nodes: Sequence[Node],
    running: Collection[str],
    offer: Offer,
    now: datetime,
) -> Judgement:
    """What of a Hetzner stack's wishes the offer does not hold. ``running`` are the names of the nodes that exist;
    ``now`` is aware of its zone.
    """
    if hetzner is None:
        return Judgement((), ())
    problems: list[Problem] = []
    remarks: list[str] = []
    made = [node for node in nodes if node.name not in running]
    if len(made) == len(nodes):
        problems += _location(stack, hetzner, offer)
    problems += _images(stack, hetzner, made, offer)
    for setting, group in _groups(nodes).items():
        server_type, location = str(group[0].server_type), group[0].order.location if group[0].order else ""
        new = any(node in made for node in group)
        if new and location != hetzner.location and location not in offer.zones:
            rule = "is not among Hetzner's locations, as its API says"
            fix = f"take one of them: {', '.join(offer.zones)}"
            problems.append(Problem(stack, f"{setting}.location", location, rule, fix))
        architecture = _OF_NODES[group[0].architecture]
        problem = _server_type(stack, f"{setting}.server_type", server_type, architecture, location, offer, now)
        if problem is not None and new:
            problems.append(problem)
        elif problem is not None:
            remarks.append(f"{stack}: {problem.setting} {problem.value} {problem.rule}; the servers that run stay")
        elif new:
            remarks += _passing(stack, server_type, location, offer)
    return Judgement(tuple(problems), tuple(dict.fromkeys(remarks)))


def _groups(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """The nodes by the setting of their group."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        if node.order is not None:
            found.setdefault(node.order.setting, []).append(node)
    return found


def _images(stack: str, hetzner: HetznerSettings, made: Sequence[Node], offer: Offer) -> Iterator[Problem]:
    """Of every server that is to be made there is the image, for its architecture."""
    seen = set()
    for node in made:
        if node.order is None:
            continue
        image, architecture = node.order.image, _OF_NODES[node.architecture]
        pool = hetzner.pools.get(node.order.pool)
        setting = "hetzner.image" if pool is None or pool.image is None else f"{node.order.setting}.image"
        if (setting, architecture) in seen or architecture in offer.image_architectures.get(image, frozenset()):
            continue
        seen.add((setting, architecture))
        rule = f"is not among Hetzner's images for {architecture}, as its API says"
        yield Problem(stack, setting, image, rule, "take one like debian-12")


def _location(stack: str, hetzner: HetznerSettings, offer: Offer) -> Iterator[Problem]:
    location, zone = hetzner.location, hetzner.network_zone
    right = offer.zones.get(location)
    if right is None:
        rule = "is not among Hetzner's locations, as its API says"
        yield Problem(stack, "hetzner.location", location, rule, f"take one of them: {', '.join(offer.zones)}")
    elif right != zone:
        rule = f"is not the zone of location {location}, as Hetzner's API says"
        yield Problem(stack, "hetzner.network_zone", zone, rule, f"write {right}")


def _server_type(
    stack: str, setting: str, server_type: str, architecture: str, location: str, offer: Offer, now: datetime
) -> Problem | None:
    offered = offer.server_types.get(server_type)
    if location not in offer.zones:
        location = ""
    there = _sold_in(location, offer, now, architecture)
    fix = f"take one that is there: {there}" if there else "take another location"
    if offered is None:
        return Problem(stack, setting, server_type, "is not among Hetzner's server types, as its API says", fix)
    if offered.architecture != architecture:
        # The program tells it by the type's name, so that a plan needs no API.
        binary = (
            "k3s.sha256 is the checksum of the x86 binary" if architecture == X86 else "by its name it is an Arm one"
        )
        rule = f"is of the architecture {offered.architecture}; {binary}"
        return Problem(stack, setting, server_type, rule, fix)
    if not location:
        return None
    sale = offered.sales.get(location)
    if sale is None:
        return Problem(stack, setting, server_type, f"is not to be had in {location}, as Hetzner's API says", fix)
    if sale.ends is not None and sale.ends <= now:
        rule = f"has not been sold in {location} since {sale.ends:%Y-%m-%d}, as Hetzner's API says"
        return Problem(stack, setting, server_type, rule, fix)
    return None


def _sold_in(location: str, offer: Offer, now: datetime, architecture: str) -> str:
    """Those of the architecture that one can have there now, those of a usual size first; of no location: in any."""

    def sold(offered: OfferedType) -> bool:
        sales = [sale for place, sale in offered.sales.items() if location in ("", place)]
        return offered.architecture == architecture and any(
            sale.available and (sale.ends is None or sale.ends > now) for sale in sales
        )

    found = [
        (offered.memory_gb < USUAL_MEMORY_GB, offered.memory_gb, name)
        for name, offered in offer.server_types.items()
        if sold(offered)
    ]
    names = [name for _, _, name in sorted(found)]
    return ", ".join(names[:NAMES_SHOWN]) + (" or a larger one" if len(names) > NAMES_SHOWN else "")


def _passing(stack: str, server_type: str, location: str, offer: Offer) -> Iterator[str]:
    """What is no fault: an end that is to come, and servers that are sold out today."""
    offered = offer.server_types.get(server_type)
    sale = None if offered is None else offered.sales.get(location)
    if sale is not None and sale.ends is not None:
        yield f"{stack}: Hetzner ends {server_type} in {location} on {sale.ends:%Y-%m-%d}; servers that run stay"
    elif sale is not None and not sale.available:
        yield f"{stack}: {server_type} is sold out in {location}, as Hetzner's API says; `pulumi up` may fail for it"
