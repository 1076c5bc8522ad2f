"""The lab's map: sites, machines and every address. All other modules take these from here.

It owns the names and addresses of the lab's world. It knows nothing of how networks and machines are made, nor of the
settings that the program has beyond those that name an address.

The public networks are those reserved for documentation (RFC 5737), so nothing here can be meant for the Internet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final, Literal

PREFIX: Final = "isthmus-"
"""Every network namespace of the lab starts with this; the machine API adds it to a machine's name."""

WAN_NAMESPACE: Final = "isthmus-wan"
SERVICES_NAMESPACE: Final = "isthmus-services"
WORKSTATION_NAMESPACE: Final = "isthmus-workstation"

NETBIRD_ADDRESS: Final = IPv4Address("198.51.100.10")
NETBIRD_PORT: Final = 8080
NETBIRD_URL: Final = f"http://{NETBIRD_ADDRESS}:{NETBIRD_PORT}"
STUN_PORT: Final = 3478

HETZNER_ADDRESS: Final = IPv4Address("198.51.100.20")
HETZNER_ENDPOINT: Final = f"http://{HETZNER_ADDRESS}/v1"

MIRROR_ADDRESS: Final = IPv4Address("198.51.100.30")
MIRROR_URL: Final = f"http://{MIRROR_ADDRESS}"

SERVICE_ADDRESSES: Final = (NETBIRD_ADDRESS, HETZNER_ADDRESS, MIRROR_ADDRESS)

VERIFY_NAMESPACE: Final = "isthmus-verify"
PROBE_IMAGE: Final = "registry.isthmus.lab/probe:1"


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The address ranges and the name of one cluster."""

    pods: IPv4Network
    services: IPv4Network
    nodes: IPv4Network
    dns_zone: str


@dataclass(frozen=True, kw_only=True)
class LanMachine:
    """A machine of an on-premise site, as it is named in the stack file."""

    name: str
    address: IPv4Address
    role: Literal["server", "agent"]
    router: bool = False


@dataclass(frozen=True, kw_only=True)
class HetznerSite:
    """A cluster whose machines the Hetzner API stand-in creates."""

    name: str
    ranges: Ranges
    network: IPv4Network
    """The Hetzner network; the node range is its subnet."""
    control_planes: int = 1
    workers: int = 1

    @property
    def node_count(self) -> int:
        """How many nodes the cluster gets."""
        return self.control_planes + self.workers


@dataclass(frozen=True, kw_only=True)
class OnPremiseSite:
    """A cluster on machines in a LAN behind a NAT router that nobody outside can reach."""

    name: str
    ranges: Ranges
    public_address: IPv4Address
    machines: tuple[LanMachine, ...]

    @property
    def gateway(self) -> IPv4Address:
        """The NAT router's address in the LAN: the first one."""
        return next(self.ranges.nodes.hosts())

    @property
    def nat_namespace(self) -> str:
        """The network namespace of the NAT router; it holds the LAN's bridge as well."""
        return f"{PREFIX}{self.name}-nat"

    @property
    def node_count(self) -> int:
        """How many nodes the cluster gets."""
        return len(self.machines)

    def interface(self, address: IPv4Address) -> IPv4Interface:
        """An address of the LAN with the LAN's prefix length."""
        return IPv4Interface(f"{address}/{self.ranges.nodes.prefixlen}")


Site = HetznerSite | OnPremiseSite


@dataclass(frozen=True, kw_only=True)
class Workstation:
    """Where the person sits: in the LAN of one of the sites."""

    site: str
    address: IPv4Address


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A whole lab. Every site is a peer of every other."""

    sites: tuple[Site, ...]
    workstation: Workstation

    def site(self, name: str) -> Site:
        """The site of that name; KeyError when there is none."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(name)

    @property
    def on_premise(self) -> tuple[OnPremiseSite, ...]:
        """The sites behind a NAT."""
        return tuple(site for site in self.sites if isinstance(site, OnPremiseSite))

    @property
    def workstation_site(self) -> OnPremiseSite:
        """The site that the workstation is in."""
        site = self.site(self.workstation.site)
        assert isinstance(site, OnPremiseSite), "the workstation is in a LAN"
        return site

    def peers(self, site: Site) -> tuple[str, ...]:
        """The names of all other sites."""
        return tuple(other.name for other in self.sites if other is not site)

    def directions(self) -> Iterator[tuple[Site, Site]]:
        """Every ordered pair of two sites."""
        for source in self.sites:
            for target in self.sites:
                if source is not target:
                    yield source, target

    def up_order(self) -> tuple[str, ...]:
        """The stacks in the order of `pulumi up`: each once, then again all that ran before their peers were there."""
        names = tuple(site.name for site in self.sites)
        return (*names, *names[:-1])


def _network(text: str) -> IPv4Network:
    return ipaddress.IPv4Network(text)


DEFAULT: Final = Topology(
    sites=(
        HetznerSite(
            name="de",
            ranges=Ranges(
                pods=_network("10.42.0.0/16"),
                services=_network("10.43.0.0/16"),
                nodes=_network("10.0.1.0/24"),
                dns_zone="astring-de.internal",
            ),
            network=_network("10.0.0.0/16"),
        ),
        OnPremiseSite(
            name="mn",
            ranges=Ranges(
                pods=_network("10.52.0.0/16"),
                services=_network("10.53.0.0/16"),
                nodes=_network("192.168.7.0/24"),
                dns_zone="astring-mn.internal",
            ),
            public_address=IPv4Address("198.51.100.50"),
            machines=(
                LanMachine(name="mn-1", address=IPv4Address("192.168.7.11"), role="server"),
                LanMachine(name="mn-2", address=IPv4Address("192.168.7.12"), role="agent", router=True),
            ),
        ),
    ),
    workstation=Workstation(site="mn", address=IPv4Address("192.168.7.2")),
)
"""One cluster at "Hetzner", one behind a NAT, and a person at a desk in the second one's LAN."""
