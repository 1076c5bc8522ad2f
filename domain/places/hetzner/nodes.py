"""The servers at Hetzner as nodes: their names, and their fixed places in the node CIDR.

Where a node lies follows from the settings of its own group and its own number, so nothing that is added, removed or
changed elsewhere moves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.nodes import FIRST_GENERATION, Marks, Node, Order
from domain.places.hetzner.catalogue import is_arm
from domain.places.hetzner.model import PLACEMENT_GROUP_LIMIT, HetznerSettings, Pool
from domain.settings.draft import known
from domain.settings.stack import CommonSettings

SERVER_OFFSET: Final = 11
"""The first server of the control plane has this address in the node CIDR; .1 is Hetzner's gateway."""
HETZNER_PRIVATE_MTU: Final = 1450
"""Of Hetzner's private networks (https://docs.hetzner.com/networking/networks/faq)."""
AGENT_OFFSET: Final = 31
"""The first worker has this address in the node CIDR."""
HETZNER_NODE_PREFIX: Final = 26
"""The smallest node CIDR at Hetzner that holds the fixed places of control plane and workers. What is behind it in a
larger one is for pools."""


def nodes(settings: CommonSettings, section: HetznerSettings) -> tuple[Node, ...]:
    """Servers of the control plane, then workers, then pools by their names. The first workers carry the link, and
    where there are fewer than routers, the first servers as well: a router that runs no API fails alone. Of a pool its
    first members do, as many as it says.
    """
    routing_workers = min(section.routers, section.workers.count)
    servers = _group(settings, section, "control_plane", section.routers - routing_workers)
    agents = _group(settings, section, "workers", routing_workers)
    pools = (node for name in sorted(section.pools) for node in _pool(settings, section, name))
    return (*servers, *agents, *pools)


def _group(settings: CommonSettings, section: HetznerSettings, group: str, routers: int) -> Iterator[Node]:
    server = group == "control_plane"
    wanted = section.control_plane if server else section.workers
    offset = SERVER_OFFSET if server else AGENT_OFFSET
    for index in range(wanted.count):
        name = server_name(settings.stack, "server" if server else "agent", index + 1)
        yield Node(
            name=name,
            role="server" if server else "agent",
            router=index < routers,
            address=settings.network.node_cidr[offset + index],
            server_type=wanted.server_type,
            order=Order(f"hetzner.{group}", section.location, section.image),
            architecture="arm64" if is_arm(wanted.server_type) else "amd64",
            generation=section.generations.get(name, FIRST_GENERATION),
        )


def _pool(settings: CommonSettings, section: HetznerSettings, pool_name: str) -> Iterator[Node]:
    pool = section.pools[pool_name]
    for index, number in enumerate(members(pool) or ()):
        name = server_name(settings.stack, pool_name, number)
        yield Node(
            name=name,
            role="agent",
            router=index < pool.routers,
            address=pool.addresses[number],
            server_type=pool.server_type,
            order=Order(
                f"hetzner.pools.{pool_name}",
                pool.location or section.location,
                pool.image or section.image,
                pool_name,
                placement(pool_name, number),
            ),
            architecture="arm64" if is_arm(pool.server_type) else "amd64",
            marks=Marks(tuple(sorted(pool.labels.items())), tuple(sorted(pool.taints))),
            generation=section.generations.get(name, FIRST_GENERATION),
        )


def server_name(stack: str, group: str, number: int) -> str:
    """What a server, and its Node, is called. ``group`` is a pool's name, or ``server`` or ``agent``."""
    return f"{stack}-{group}-{number}"


def placement_group(stack: str, behind: str = "") -> str:
    """What a placement group is called. ``behind`` as of :attr:`domain.nodes.Order.placement`."""
    return f"isthmus-{stack}-{behind}" if behind else f"isthmus-{stack}"


def placement(pool: str, number: int) -> str:
    """The placement group of a member: a pool has one for its numbers from 1 to 10, one for those from 11 to 20, and so
    on, so that none has to hold more than a group does, whoever comes or goes.
    """
    return f"{pool}-{(number - 1) // PLACEMENT_GROUP_LIMIT + 1}"


def members(pool: Pool | object) -> tuple[int, ...] | None:
    """The numbers of a pool's servers, lowest first; None where they are unknown."""
    count, numbers = getattr(pool, "count", None), getattr(pool, "members", ())
    if numbers:
        return tuple(sorted(numbers))
    return None if count is None else tuple(range(1, count + 1))


def node_count(settings: object) -> int | None:
    """How many servers there are, None where that is unknown."""
    counts = [known(settings, "hetzner", group, "count") for group in ("control_plane", "workers")]
    pools = known(settings, "hetzner", "pools")
    if pools is None or any(count is None for count in counts):
        return None
    sizes = [members(pool) for pool in pools.values()]
    return None if any(size is None for size in sizes) else sum(counts) + sum(len(size or ()) for size in sizes)
