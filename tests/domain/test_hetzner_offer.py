"""What Hetzner's API says, against what a stack asks for. The answers are the stand-in's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.places.hetzner.offer import Judgement, Offer, judged, read_offer
from domain.plan import address_plan
from lab.standins.hetzner_api import catalog, views
from tests.domain.samples import DE, MN, said, settings_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)
NODES = ("de-server-1", "de-agent-1")
NO_IMAGE = "de: hetzner.image {} is not among Hetzner's images for x86, as its API says; take one like debian-12."


def answers() -> tuple[list[Any], list[Any], dict[str, list[Any]]]:
    """Locations, server types and images of the names debian-12 and debian-13."""
    return (
        [views.location(location) for location in catalog.LOCATIONS],
        [views.server_type(server_type) for server_type in catalog.SERVER_TYPES],
        {
            name: [views.image(image) for image in catalog.IMAGES if image.name == name]
            for name in ("debian-12", "debian-13")
        },
    )


def offer(**changes: Any) -> Offer:
    """The stand-in's, where ``cx23`` has other values than it has there; None takes it out."""
    locations, server_types, images = answers()
    for server_type in list(server_types):
        if server_type["name"] == "cx23":
            if changes.get("cx23", "") is None:
                server_types.remove(server_type)
            server_type.update(changes.get("type", {}))
            for place in server_type["locations"]:
                place.update(changes.get("place", {}))
    if "images" in changes:
        images = {"debian-12": changes["images"]}
    return read_offer(locations, server_types, images)


def judgement(settings: dict[str, Any] | None = None, running: tuple[str, ...] = (), **changes: Any) -> Judgement:
    found = settings_of("de", DE, settings)
    return judged(found.stack, found.hetzner, address_plan(found).nodes, running, offer(**changes), NOW)


def test_what_is_there_is_no_problem() -> None:
    assert judgement() == Judgement((), ())


def test_a_stack_elsewhere_asks_for_nothing() -> None:
    found = settings_of("mn", MN)
    assert judged(found.stack, found.hetzner, address_plan(found).nodes, (), offer(), NOW) == Judgement((), ())


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "type that is gone": (
        {"hetzner.workers.server_type": "cx33"},
        {"cx23": None},
        [
            ("de: hetzner.control_plane.server_type cx23 is not among Hetzner's server types, as its API says; "
            "take one that is there: cpx22, ccx13, cpx32, cx33, ccx23, cpx42, cx43, cpx52 or a larger one.")
        ],
    ),
    "type that is not there": (
        {"hetzner.location": "ash", "hetzner.network_zone": "us-east", "hetzner.unlisted": ["cx23"],
         "hetzner.workers.server_type": "cpx21"},
        {},
        [
            ("de: hetzner.control_plane.server_type cx23 is not to be had in ash, as Hetzner's API says; "
            "take one that is there: cpx21, ccx13, cpx31, ccx23, cpx41, ccx33, cpx51, ccx43 or a larger one.")
        ],
    ),
    "type whose sale has ended": (
        {"hetzner.workers.server_type": "cx33"},
        {"place": {"deprecation": {"announced": "2026-05-01T00:00:00Z", "unavailable_after": "2026-11-01T00:00:00Z"}}},
        [
            ("de: hetzner.control_plane.server_type cx23 has not been sold in fsn1 since 2026-11-01, as Hetzner's API "
            "says; take one that is there: cpx22, ccx13, cpx32, cx33, ccx23, cpx42, cx43, cpx52 or a larger one.")
        ],
    ),
    "type of another architecture": (
        {"hetzner.workers.server_type": "cx33"},
        {"type": {"architecture": "arm"}},
        [
            ("de: hetzner.control_plane.server_type cx23 is of the architecture arm; k3s.sha256 is the checksum of the "
            "x86 binary; take one that is there: cpx22, ccx13, cpx32, cx33, ccx23, cpx42, cx43, cpx52 or a larger one.")
        ],
    ),
    "image that is none": (
        {"hetzner.image": "debian-99"},
        {"images": []},
        [NO_IMAGE.format("debian-99")],
    ),
    "image of the other architecture": (
        {},
        {"images": [image for image in answers()[2]["debian-12"] if image["architecture"] == "arm"]},
        [NO_IMAGE.format("debian-12")],
    ),
    "location that is none": (
        {"hetzner.location": "new1", "hetzner.network_zone": "eu-new", "hetzner.unlisted": ["new1"]},
        {},
        [
            ("de: hetzner.location new1 is not among Hetzner's locations, as its API says; "
            "take one of them: fsn1, nbg1, hel1, ash, hil, sin.")
        ],
    ),
    "everything at once": (
        {"hetzner.location": "new1", "hetzner.network_zone": "eu-new", "hetzner.unlisted": ["new1", "cx99"],
         "hetzner.workers.server_type": "cx99"},
        {"images": []},
        [
            ("de: hetzner.location new1 is not among Hetzner's locations, as its API says; "
            "take one of them: fsn1, nbg1, hel1, ash, hil, sin."),
            ("de: hetzner.image debian-12 is not among Hetzner's images for x86, as its API says; "
            "take one like debian-12."),
            ("de: hetzner.workers.server_type cx99 is not among Hetzner's server types, as its API says; "
            "take one that is there: cpx21, cpx22, cx23, ccx13, cpx31, cpx32, cx33, ccx23 or a larger one."),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "changes", "messages"), BAD.values(), ids=BAD)
def test_what_is_not_there(settings: dict[str, Any], changes: dict[str, Any], messages: list[str]) -> None:
    found = judgement(settings, **changes)
    assert said(list(found.problems)) == messages
    assert found.remarks == ()


def test_a_zone_that_the_list_has_otherwise() -> None:
    """Of a location that only Hetzner knows."""
    settings = {"hetzner.location": "new1", "hetzner.network_zone": "eu-old", "hetzner.unlisted": ["new1"]}
    found = settings_of("de", DE, settings)
    locations, server_types, images = answers()
    for server_type in server_types:
        server_type["locations"].append({"name": "new1", "deprecation": None})
    new = read_offer([*locations, {"name": "new1", "network_zone": "eu-new"}], server_types, images)
    assert said(list(judged(found.stack, found.hetzner, address_plan(found).nodes, (), new, NOW).problems)) == [
        "de: hetzner.network_zone eu-old is not the zone of location new1, as Hetzner's API says; write eu-new."
    ]


@pytest.mark.parametrize(
    ("place", "remark"),
    [
        ({"available": False}, "de: cx23 is sold out in fsn1, as Hetzner's API says; `pulumi up` may fail for it"),
        (
            {"deprecation": {"announced": "2026-11-01T00:00:00Z", "unavailable_after": "2027-02-01T00:00:00Z"}},
            "de: Hetzner ends cx23 in fsn1 on 2027-02-01; servers that run stay",
        ),
    ],
)
def test_what_may_pass_is_said(place: dict[str, Any], remark: str) -> None:
    """Once, though both pools are of this type, and not where nothing new is made."""
    assert judgement(place=place) == Judgement((), (remark,))
    assert judgement(place=place, running=NODES) == Judgement((), ())


def test_servers_that_run_are_no_problem() -> None:
    """Hetzner lets them run, and nothing of them is made anew."""
    assert judgement(running=NODES, cx23=None, images=[]) == Judgement(
        (),
        (
            (
                "de: hetzner.control_plane.server_type cx23 is not among Hetzner's server types, as its API says; "
                "the servers that run stay"
            ),
            (
                "de: hetzner.workers.server_type cx23 is not among Hetzner's server types, as its API says; "
                "the servers that run stay"
            ),
        ),
    )


def test_a_server_more_is_new() -> None:
    found = judgement({"hetzner.workers.count": 2}, running=NODES, cx23=None)
    assert [problem.setting for problem in found.problems] == ["hetzner.workers.server_type"]
    assert len(found.remarks) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"locations": None},
        {"memory": None},
        {"locations": [{"name": "fsn1", "deprecation": {"unavailable_after": "soon"}}]},
        {"locations": [{}]},
        {"locations": [{"name": "fsn1", "deprecation": {}}]},
    ],
)
def test_an_answer_of_another_form_is_told_by_an_exception(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        offer(type=broken)
