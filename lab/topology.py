"""The lab's map: sites, machines and every address. All other modules take these from here.

It owns the names and addresses of the lab's world. It knows nothing of how networks and machines are made, nor of the
settings that the program has beyond those that name an address.

The public networks are those reserved for documentation (RFC 5737), so nothing here can be meant for the Internet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
    routers: int = 1
    """How many of its nodes carry the link: workers first, as the program chooses them."""

    @property
    def node_count(self) -> int:
        """How many nodes the cluster gets."""
        return self.control_planes + self.workers

    @property
    def server_count(self) -> int:
        """How many of them run the API."""
        return self.control_planes

    @property
    def router_count(self) -> int:
        """How many of them carry the link."""
        return self.routers


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
    def workstation_address(self) -> IPv4Address:
        """The address of the workstation's leg in the LAN: the second one."""
        return self.ranges.nodes[2]

    @property
    def nat_namespace(self) -> str:
        """The network namespace of the NAT router; it holds the LAN's bridge as well."""
        return f"{PREFIX}{self.name}-nat"

    @property
    def node_count(self) -> int:
        """How many nodes the cluster gets."""
        return len(self.machines)

    @property
    def server_count(self) -> int:
        """How many of them run the API."""
        return sum(machine.role == "server" for machine in self.machines)

    @property
    def router_count(self) -> int:
        """How many of them carry the link."""
        return sum(machine.router for machine in self.machines)

    def interface(self, address: IPv4Address) -> IPv4Interface:
        """An address of the LAN with the LAN's prefix length."""
        return IPv4Interface(f"{address}/{self.ranges.nodes.prefixlen}")


Site = HetznerSite | OnPremiseSite


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A whole lab. Every site is a peer of every other."""

    sites: tuple[Site, ...]

    @property
    def servers(self) -> int:
        """How many servers run the API of each cluster."""
        return max(site.server_count for site in self.sites)

    @property
    def routers(self) -> int:
        """How many routers each cluster has."""
        return max(site.router_count for site in self.sites)

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
        """The site that the person sits at: the first one behind a NAT. The workstation's default route goes through
        its NAT; in the LAN of every other such site it has a leg, and forwards nothing between them.
        """
        return self.on_premise[0]

    def peers(self, site: Site) -> tuple[str, ...]:
        """The names of all other sites."""
        return tuple(other.name for other in self.sites if other is not site)

    def directions(self) -> Iterator[tuple[Site, Site]]:
        """Every ordered pair of two sites."""
        for source in self.sites:
            for target in self.sites:
                if source is not target:
                    yield source, target

    def up_order(self, raised: Iterable[str] = ()) -> tuple[str, ...]:
        """The stacks in the order of `pulumi up`: those not raised yet, then all that missed one that came later.

        Where all are raised and something is wrong all the same, it is the order of a lab with none.
        """
        names = tuple(site.name for site in self.sites)
        done = set(raised)
        first = tuple(name for name in names if name not in done) or names
        return (*first, *(name for name in names if name != first[-1]))


def _ranges(pods: str, services: str, nodes: str, dns_zone: str) -> Ranges:
    return Ranges(pods=IPv4Network(pods), services=IPv4Network(services), nodes=IPv4Network(nodes), dns_zone=dns_zone)


def _behind_a_nat(name: str, ranges: Ranges, public_address: str) -> OnPremiseSite:
    server, agent = ranges.nodes[11], ranges.nodes[12]
    return OnPremiseSite(
        name=name,
        ranges=ranges,
        public_address=IPv4Address(public_address),
        machines=(
            LanMachine(name=f"{name}-1", address=server, role="server"),
            LanMachine(name=f"{name}-2", address=agent, role="agent", router=True),
        ),
    )


SITES: Final[tuple[Site, ...]] = (
    HetznerSite(
        name="de",
        ranges=_ranges("10.42.0.0/16", "10.43.0.0/16", "10.0.1.0/24", "de.internal"),
        network=IPv4Network("10.0.0.0/16"),
    ),
    _behind_a_nat("mn", _ranges("10.44.0.0/16", "10.45.0.0/16", "192.168.7.0/24", "mn.internal"), "198.51.100.50"),
    _behind_a_nat("kz", _ranges("10.46.0.0/16", "10.47.0.0/16", "192.168.8.0/24", "kz.internal"), "198.51.100.60"),
)
"""All sites that a lab can have. Pods, services, zones and Hetzner's network are what `./isthmus new` takes for these
names and LANs in this order, so a site that comes later moves nothing of those before it.
"""

LEAST_SITES: Final = 2
MOST_SITES: Final = len(SITES)
MOST_ROUTERS: Final = 2
"""A cluster's, with the memory that a lab's machine has: each router is a node more."""


SERVERS: Final = (1, 3)
"""How many servers a cluster can have here: etcd gains nothing by a second one, and five are more than a machine of two
cores carries.
"""


def of_sites(count: int, routers: int = 1, servers: int = 1) -> Topology:
    """The lab with the first ``count`` sites, so many routers and so many servers in each cluster.

    Every cluster has a node beside its routers, so a pod can be on any of them or on none. ValueError for fewer sites
    or routers than a link needs, or more than there are, and for servers that etcd has no majority of.
    """
    if not LEAST_SITES <= count <= MOST_SITES:
        raise ValueError(f"a lab has {LEAST_SITES} to {MOST_SITES} sites, not {count}")
    if not 1 <= routers <= MOST_ROUTERS:
        raise ValueError(f"a cluster of the lab has 1 to {MOST_ROUTERS} routers, not {routers}")
    if servers not in SERVERS:
        raise ValueError(f"a cluster of the lab has {' or '.join(map(str, SERVERS))} servers, not {servers}")
    # A lab keeps its servers and may get more routers, whose machines are therefore the last by number.
    return Topology(sites=tuple(_with_routers(_with_servers(site, servers), routers) for site in SITES[:count]))


def _with_servers(site: Site, servers: int) -> Site:
    """The site with so many servers; on-premise each further one is a machine more."""
    if isinstance(site, HetznerSite):
        return replace(site, control_planes=servers)
    return _with_machines(site, servers - site.server_count, role="server")


def _with_routers(site: Site, routers: int) -> Site:
    """The site with so many routers, each of them on an agent's machine of its own; the others stay what they are."""
    if isinstance(site, HetznerSite):
        return replace(site, workers=max(site.workers, routers), routers=routers)
    return _with_machines(site, routers - site.router_count, role="agent", router=True)


def _with_machines(
    site: OnPremiseSite, count: int, *, role: Literal["server", "agent"], router: bool = False
) -> OnPremiseSite:
    """The site with so many machines more, behind those that it has by number and address."""
    first = len(site.machines) + 1
    more = tuple(
        LanMachine(name=f"{site.name}-{number}", address=site.ranges.nodes[10 + number], role=role, router=router)
        for number in range(first, first + count)
    )
    return replace(site, machines=site.machines + more)


DEFAULT: Final = of_sites(LEAST_SITES)
"""One cluster at "Hetzner", one behind a NAT, and a person at a desk in the second one's LAN."""
