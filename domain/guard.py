"""What a node does with packets for a peer when no tunnel takes them, and with packets of a peer that are not for pods:
the settings of the guard on every node. Pure; the guard itself is ``components/files/guard.sh``.

The guard speaks of what it sees in lines that :func:`read_state` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final, Literal

from domain.link import Link
from domain.names import RELAY_PORT
from domain.overlay import NETBIRD_INTERFACE

REFUSING_INTERFACE: Final = "wt-refuse"
"""Where packets go that nothing else may take. Cilium has to take it for a device (its ``devices`` are ``wt+``): only
what leaves by one of those is steered to the router, so a route that ends in the kernel would stop that as well.
"""
ROUTE_TABLE: Final = 7130
RULE_PRIORITIES: Final = (101, 102, 103, 104)
"""Of the ip rules. For the peers' ranges: NetBird's own table, then :data:`ROUTE_TABLE`. For our own pods and services:
the main table without its default route, which has what Cilium lays, then none.

After 100, which is where Cilium moves the table of local addresses, and before 105 and 110, which are NetBird's: its
first sends packets by any route of the main table that is more exact than the default one.
"""
PODS_PRIORITY: Final = 100
"""Of the ip rule before those: what this cluster's pods send to the peers' ranges leaves by :data:`REFUSING_INTERFACE`,
where Cilium leads it to the router that carries. Cilium's own rule of this priority looks up local addresses, which the
peers' are none of.
"""
NETBIRD_ROUTE_TABLE: Final = 7120
"""NetBird's table of routed networks (client/internal/routemanager/systemops/systemops_linux.go in 0.77)."""

OPEN_CHAIN: Final = "ISTHMUS-OPEN"
"""iptables' chain for what a peer's router may reach on a node besides the DNS relay. The guard makes it, empty, and
leaves alone what is in it.
"""

BOOT_DIRECTORY: Final = "/var/lib/isthmus-guard"
"""On every node, also as the guard sees it: what the node's systemd runs at a boot, before a guard does."""
HOST_ETC: Final = "/host/etc"
"""Where the guard sees the node's ``/etc``."""

Way = Literal["tunnel", "none", "elsewhere"]


def guarded_ranges(links: Sequence[Link]) -> tuple[IPv4Network, ...]:
    """What has to leave by the tunnel or not at all: the peers' pods, their services, carried or not, and their routers
    themselves.
    """
    ranges: set[IPv4Network] = set()
    for link in links:
        ranges.update((link.pod_cidr, link.service_cidr))
        ranges.update(IPv4Network(address) for address in link.router_addresses)
    return tuple(sorted(ranges))


def guard_environment(
    ranges: Sequence[IPv4Network],
    pod_cidr: IPv4Network,
    service_cidr: IPv4Network,
    keeper_port: int | None = None,
) -> dict[str, str]:
    """The environment of the script; its head says what each entry is. ``keeper_port`` is None without keepers."""
    return {
        "INTERFACE": NETBIRD_INTERFACE,
        "NETBIRD_TABLE": str(NETBIRD_ROUTE_TABLE),
        "REFUSING_INTERFACE": REFUSING_INTERFACE,
        "TABLE": str(ROUTE_TABLE),
        "PODS_PRIORITY": str(PODS_PRIORITY),
        "PRIORITIES": " ".join(str(priority) for priority in RULE_PRIORITIES),
        "RANGES": " ".join(str(network) for network in ranges),
        "PODS": str(pod_cidr),
        "SERVICES": str(service_cidr),
        "OPEN_PORT": str(RELAY_PORT),
        **({} if keeper_port is None else {"KEEPER_PORT": str(keeper_port)}),
        "BOOT_DIRECTORY": BOOT_DIRECTORY,
        "HOST_ETC": HOST_ETC,
    }


@dataclass(frozen=True)
class GuardState:
    """What a guard saw last. ``address`` is the node's own in NetBird, empty without one; ``ways`` is {range: way}."""

    address: str
    ways: Mapping[str, Way]


def read_state(log: str) -> GuardState | None:
    """The last state in a guard's log (``STATE address=100.92.0.8 10.42.0.0/16=tunnel ...``); None before the first."""
    for line in reversed(log.splitlines()):
        words = line.split()
        if not words or words[0] != "STATE":
            continue
        found = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        ways: dict[str, Way] = {}
        for name, way in found.items():
            match way:
                case "tunnel" | "none" | "elsewhere":
                    ways[name] = way
                case _:
                    pass
        return GuardState(found.get("address", ""), ways)
    return None
