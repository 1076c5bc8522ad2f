"""The servers at Hetzner as nodes: their names, and their fixed places in the node CIDR."""

from __future__ import annotations

from typing import Final

from domain.nodes import Node
from domain.places.hetzner.model import HetznerSettings
from domain.settings.draft import known
from domain.settings.stack import CommonSettings

SERVER_OFFSET: Final = 11
"""The first server of the control plane has this address in the node CIDR; .1 is Hetzner's gateway."""
HETZNER_PRIVATE_MTU: Final = 1450
"""Of Hetzner's private networks (https://docs.hetzner.com/networking/networks/faq)."""
AGENT_OFFSET: Final = 31
"""The first worker has this address in the node CIDR."""


def nodes(settings: CommonSettings, section: HetznerSettings) -> tuple[Node, ...]:
    """Servers of the control plane, then workers. The first workers carry the link, and where there are fewer than
    routers, the first servers as well: a router that runs no API fails alone.
    """
    node_cidr = settings.network.node_cidr
    routing_workers = min(section.routers, section.workers.count)
    servers = [
        Node(
            name=f"{settings.stack}-server-{index + 1}",
            role="server",
            router=index < section.routers - routing_workers,
            address=node_cidr[SERVER_OFFSET + index],
            server_type=section.control_plane.server_type,
        )
        for index in range(section.control_plane.count)
    ]
    agents = [
        Node(
            name=f"{settings.stack}-agent-{index + 1}",
            role="agent",
            router=index < routing_workers,
            address=node_cidr[AGENT_OFFSET + index],
            server_type=section.workers.server_type,
        )
        for index in range(section.workers.count)
    ]
    return (*servers, *agents)


def node_count(settings: object) -> int | None:
    """How many servers there are, None where that is unknown."""
    servers = known(settings, "hetzner", "control_plane", "count")
    workers = known(settings, "hetzner", "workers", "count")
    return None if servers is None or workers is None else servers + workers
