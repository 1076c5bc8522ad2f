"""What pods on a router node have in common, and the init container with which those that start again with the node
wait for NetBird's interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, Final

from domain.names import ROUTER_LABEL, ROUTER_LABEL_VALUE
from domain.overlay import NETBIRD_INTERFACE

NAMESPACE: Final = "kube-system"
"""Of what belongs to the cluster itself."""

ROUTER_NODES: Final = {ROUTER_LABEL: ROUTER_LABEL_VALUE}
"""The node selector of everything that belongs on a router."""

TOLERATIONS: Final = [{"operator": "Exists"}]
"""A router node that is tainted (not ready, cordoned) still has to route."""


def waiting_container(
    name: str, image: object, script: str, routes: Sequence[IPv4Address], deadline_seconds: int
) -> dict[str, Any]:
    """A container that ends well once the interface is up and the routes are there, and badly at the deadline.
    ``script`` is ``components/files/wait-for-route.sh``, whose head says what it takes from the environment.
    """
    return {
        "name": name,
        "image": image,
        "command": ["/bin/sh", "-c", script],
        "env": [
            {"name": "INTERFACE", "value": NETBIRD_INTERFACE},
            {"name": "ROUTES", "value": " ".join(str(route) for route in routes)},
            {"name": "DEADLINE_SECONDS", "value": str(deadline_seconds)},
        ],
    }
