"""An init container that waits, on a router node, for NetBird's interface: for pods that start again with the node."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from ipaddress import IPv4Address
from typing import Any, Final

from domain.names import ROUTER_LABEL, ROUTER_LABEL_VALUE
from domain.overlay import NETBIRD_INTERFACE

ROUTER_NODES: Final = {ROUTER_LABEL: ROUTER_LABEL_VALUE}
"""The node selector of everything that belongs on a router."""

TOLERATIONS: Final = [{"operator": "Exists"}]
"""A router node that is tainted (not ready, cordoned) still has to route."""


def script() -> str:
    """The waiting script; its head says what it takes from the environment."""
    return (files("components") / "files" / "wait-for-route.sh").read_text(encoding="utf-8")


def container(name: str, image: str, routes: Sequence[IPv4Address], deadline_seconds: int) -> dict[str, Any]:
    """A container that ends well once the interface is up and the routes are there, and badly at the deadline."""
    return {
        "name": name,
        "image": image,
        "command": ["/bin/sh", "-c", script()],
        "env": [
            {"name": "INTERFACE", "value": NETBIRD_INTERFACE},
            {"name": "ROUTES", "value": " ".join(str(route) for route in routes)},
            {"name": "DEADLINE_SECONDS", "value": str(deadline_seconds)},
        ],
    }
