"""A pod that waits, on a router node, for NetBird's interface and its routes: as a Job before things that need them,
as an init container of those that start again with the node.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from ipaddress import IPv4Address
from typing import Any, Final

from domain.names import NETBIRD_INTERFACE, ROUTER_LABEL, ROUTER_LABEL_VALUE

JOB_DEADLINE_SECONDS: Final = 300

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


def job_spec(image: str, routes: Sequence[IPv4Address]) -> dict[str, Any]:
    """A Job that waits on a router node. It is kept when done: its name says what it waited for (:func:`job_name`)."""
    return {
        "activeDeadlineSeconds": JOB_DEADLINE_SECONDS,
        "backoffLimit": 3,
        "template": {
            "spec": {
                "hostNetwork": True,
                "restartPolicy": "Never",
                "nodeSelector": ROUTER_NODES,
                "tolerations": TOLERATIONS,
                "containers": [container("wait", image, routes, JOB_DEADLINE_SECONDS - 10)],
            }
        },
    }


def job_name(prefix: str, *waited_for: object) -> str:
    """``prefix`` with a short hash of everything that makes waiting again necessary; a Job's template can't be
    changed.
    """
    text = json.dumps([str(item) for item in waited_for])
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
