"""Why there is no route: each thing that can be wrong in NetBird, alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from domain.link_reason import why_no_route

GOOD: dict[str, Any] = {
    "peers": [
        {"name": "isthmus-mn-router", "ip": "100.92.0.8", "connected": True},
        {"name": "isthmus-de-router", "ip": "100.92.0.7", "connected": True},
    ],
    "networks": [{"id": "n1", "name": "isthmus-de"}],
    "resources": {
        "n1": [{"address": "10.42.0.0/16", "enabled": True}, {"address": "10.43.0.0/16", "enabled": True}],
    },
    "routers": {"n1": [{"enabled": True}]},
    "policies": [
        {
            "name": "isthmus-mn-to-de-pods",
            "enabled": True,
            "rules": [{"enabled": True, "sources": [{"name": "isthmus-mn-routers"}]}],
        },
        {
            "name": "isthmus-mn-to-de-services",
            "enabled": True,
            "rules": [{"enabled": True, "sources": [{"name": "isthmus-mn-routers"}]}],
        },
    ],
}


def reason(change: Callable[[dict[str, Any]], object] = lambda _: None) -> str:
    facts = copy.deepcopy(GOOD)
    change(facts)
    return why_no_route(
        cluster="mn",
        peer="de",
        destinations=[IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")],
        own={"mn-2": "100.92.0.8"},
        peer_routers=[IPv4Address("100.92.0.7")],
        **facts,
    )


def test_nothing_wrong() -> None:
    assert reason().startswith("in NetBird everything is as it should be")


def double(facts: dict[str, Any]) -> None:
    facts["networks"].insert(0, {"id": "n0", "name": "isthmus-de"})
    facts["resources"]["n0"] = facts["resources"]["n1"]
    facts["resources"]["n1"] = []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda facts: facts["peers"].pop(0),
            "NetBird has no peer 100.92.0.8, the router mn-2 of mn: it is not enrolled",
        ),
        (
            lambda facts: facts["peers"][0].update(connected=False),
            "NetBird says that isthmus-mn-router (100.92.0.8), the router mn-2 of mn, is not connected",
        ),
        (
            lambda facts: facts["peers"][1].update(ip="100.92.0.9"),
            "NetBird has no peer with the address of the routers of de (100.92.0.7)",
        ),
        (lambda facts: facts["peers"][1].update(connected=False), "the routers of de are not connected to NetBird"),
        (lambda facts: facts["resources"].clear(), "no network in NetBird has a resource 10.42.0.0/16"),
        (
            double,
            "NetBird's network isthmus-de (n0) with the resource 10.42.0.0/16 has no router that is enabled",
        ),
        (
            lambda facts: facts["routers"]["n1"][0].update(enabled=False),
            "NetBird's network isthmus-de (n1) with the resource 10.42.0.0/16 has no router that is enabled",
        ),
        (
            lambda facts: facts["resources"]["n1"][0].update(enabled=False),
            "the resource 10.42.0.0/16 in NetBird is disabled",
        ),
        (lambda facts: facts["policies"].clear(), "NetBird has no policy isthmus-mn-to-de-pods"),
        (
            lambda facts: facts["policies"][0].update(enabled=False),
            "NetBird's policy isthmus-mn-to-de-pods is disabled",
        ),
        (
            lambda facts: facts["policies"][0]["rules"][0].update(enabled=False),
            "NetBird's policy isthmus-mn-to-de-pods is disabled",
        ),
        (
            lambda facts: facts["policies"][0]["rules"][0].update(sources=[{"name": "All"}]),
            "NetBird's policy isthmus-mn-to-de-pods does not begin at isthmus-mn-routers",
        ),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[dict[str, Any]], object], said: str) -> None:
    assert reason(change).startswith(said)
