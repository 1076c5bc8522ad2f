"""The list of what Hetzner offers: it agrees with itself and with the stand-in, and what it proposes can be had."""

from __future__ import annotations

import pytest

from domain.places.hetzner.catalogue import (
    NETWORK_ZONES,
    RETIRED,
    SERVER_TYPES,
    ServerType,
    near_location,
    near_server_type,
    proposal,
    types_in,
)
from lab.standins.hetzner_api import catalog

ASKED = [*SERVER_TYPES, *sorted(RETIRED), "cx24", "m5.large"]


def test_the_stand_in_offers_the_same() -> None:
    assert {location.name: location.network_zone for location in catalog.LOCATIONS} == NETWORK_ZONES
    assert {
        server_type.name: ServerType(
            server_type.architecture, server_type.cores, int(server_type.memory), frozenset(server_type.locations)
        )
        for server_type in catalog.SERVER_TYPES
    } == SERVER_TYPES
    assert not RETIRED & SERVER_TYPES.keys()


@pytest.mark.parametrize("location", [*NETWORK_ZONES, "new1"])
def test_what_is_proposed_is_there(location: str) -> None:
    there = types_in(location)
    assert len(there) >= 11
    assert {proposal(name, location) for name in ASKED} <= set(there)


@pytest.mark.parametrize(
    ("server_type", "location", "proposed"),
    [
        ("cx22", "fsn1", "cx23"),
        ("cx41-ceph", "nbg1", "cx43"),
        ("cx11", "hel1", "cx23"),
        ("cx23", "ash", "cpx21"),
        ("cx53", "sin", "cpx62"),
        ("cpx11", "fsn1", "cpx12"),
        ("cpx52", "hil", "cpx51"),
        ("ccx62", "sin", "ccx63"),
        ("cax41", "ash", "cpx51"),
        ("m5.large", "ash", "cpx21"),
    ],
)
def test_the_nearest_is_proposed(server_type: str, location: str, proposed: str) -> None:
    assert proposal(server_type, location) == proposed


@pytest.mark.parametrize(
    ("name", "meant"),
    [("fsn2", "fsn1"), ("nbg1-dc3", "nbg1"), ("helsinki", "hel1"), ("sin1", "sin"), ("us-east-1", None), ("", None)],
)
def test_the_location_that_is_meant(name: str, meant: str | None) -> None:
    assert near_location(name) == meant


@pytest.mark.parametrize(
    ("name", "location", "meant"),
    [("cx24", "fsn1", "cx23"), ("cpx222", "sin", "cpx22"), ("cx24", "ash", None), ("e2-medium", "fsn1", None)],
)
def test_the_server_type_that_is_meant(name: str, location: str, meant: str | None) -> None:
    assert near_server_type(name, location) == meant
