"""What the rest of the program has to know of the overlay between the clusters: the interface on a router, the range of
its addresses, what it adds to a packet, how a cluster's router and pods are called there, the route to the pods, and
the policies that let one cluster reach another.

This is the only door. How the overlay's agents and objects come about is behind it: ``netbird.py`` and the modules
beside it, which its own components use and nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final, Literal

from domain.names import RELAY_PORT

NETBIRD_INTERFACE: Final = "wt0"
NETBIRD_RANGE: Final = IPv4Network("100.64.0.0/10")
"""NetBird takes a random /16 of this for the addresses of an account's peers."""
WIREGUARD_SOCKETS: Final = "/var/run/wireguard"
"""Where WireGuard in a process of its own (wireguard-go) has the sockets by which its devices are set up
(https://www.wireguard.com/xplatform/)."""
MTU_MINIMUM: Final = 576
"""What every IPv4 host takes, and the least that NetBird accepts for wt0."""
MTU_MAXIMUM: Final = 8192
"""The most that NetBird accepts for wt0."""
WIREGUARD_OVERHEAD: Final = 60
"""Bytes that WireGuard over IPv4 adds: outer IP 20, UDP 8, WireGuard 32 (https://www.wireguard.com/protocol/). It
pads up to the MTU of wt0 at most. Over IPv6 it is 20 more."""


def router_name(cluster: str) -> str:
    """The NetworkRouter, and the NetBird network that the operator makes for it."""
    return f"isthmus-{cluster}"


def router_group(cluster: str) -> str:
    """Our own NetBird group of the cluster's routers, which peers' stacks find by this name."""
    return f"isthmus-{cluster}-routers"


PEER_NAME_LIMIT: Final = 63
"""Characters: NetBird makes a DNS label of a peer's name."""


def router_hostname(cluster: str, node: str | None = None) -> str:
    """What the router on this node calls itself in NetBird when it enrols. Without a node: what the one router of a
    cluster was called in earlier releases, and still is where the name would be too long with its node's.
    """
    return f"isthmus-{cluster}-router" + (f"-{node}" if node else "")


def router_hostnames(cluster: str, nodes: Sequence[str]) -> dict[str, str]:
    """The names that agents on these nodes give, by node. A router that joins others changes none of theirs: the agents
    would start anew.
    """
    names = {node: router_hostname(cluster, node) for node in nodes}
    if len(names) == 1 and any(len(name) > PEER_NAME_LIMIT for name in names.values()):
        return dict.fromkeys(nodes, router_hostname(cluster))
    return names


def pods_group(cluster: str) -> str:
    """The group of the resource that stands for the cluster's pods."""
    return f"isthmus-{cluster}-pods"


def services_group(cluster: str) -> str:
    """The group of the resource that stands for the cluster's services. One of its own, so that a peer which takes no
    ClusterIPs gets no route to them.
    """
    return f"isthmus-{cluster}-services"


@dataclass(frozen=True)
class NetworkResource:
    """A network resource: a range of the cluster (``address``, which may be known later), in its group, in the
    operator's network.
    """

    name: str
    network: str
    address: object
    group: str
    description: str


@dataclass(frozen=True)
class Policy:
    """A policy of one rule that accepts, from one group to another. ``ports`` is empty where the protocol has none."""

    name: str
    description: str
    source_group: str
    destination_group: str
    protocol: Literal["all", "tcp", "udp"]
    ports: tuple[str, ...] = ()
    bidirectional: bool = False


def pods_resource(cluster: str, pod_cidr: object) -> NetworkResource:
    """The cluster's pods as NetBird routes to them."""
    return _resource(cluster, pods_group(cluster), "Pods", pod_cidr)


def services_resource(cluster: str, service_cidr: object) -> NetworkResource:
    """The cluster's services as NetBird routes to them."""
    return _resource(cluster, services_group(cluster), "Services", service_cidr)


def _resource(cluster: str, group: str, what: str, address: object) -> NetworkResource:
    return NetworkResource(group, router_name(cluster), address, group, f"{what} of {cluster}")


def policies(cluster: str, peer: str, *, cluster_ips: bool, keeper_port: int | None = None) -> tuple[Policy, ...]:
    """What lets ``cluster`` reach ``peer``: its pods, its DNS relay, with ``cluster_ips`` its services, and its
    keepers where ``keeper_port`` is theirs. The source's stack makes them.
    """
    source = router_group(cluster)
    services = Policy(
        name=f"isthmus-{cluster}-to-{peer}-services",
        description=f"Pods of {cluster} reach services of {peer}",
        source_group=source,
        destination_group=services_group(peer),
        protocol="all",
    )
    return (
        Policy(
            name=f"isthmus-{cluster}-to-{peer}-pods",
            description=f"Pods of {cluster} reach pods of {peer}",
            source_group=source,
            destination_group=pods_group(peer),
            protocol="all",
        ),
        *(
            Policy(
                name=f"isthmus-{cluster}-to-{peer}-dns-{protocol}",
                description=f"The DNS relay of {cluster} asks that of {peer}",
                source_group=source,
                destination_group=router_group(peer),
                protocol=protocol,
                ports=(str(RELAY_PORT),),
            )
            for protocol in ("udp", "tcp")
        ),
        *((services,) if cluster_ips else ()),
        *(
            ()
            if keeper_port is None
            else (
                Policy(
                    name=f"isthmus-{cluster}-to-{peer}-keeper",
                    description=f"The keepers of {cluster} ask those of {peer}",
                    source_group=source,
                    destination_group=router_group(peer),
                    protocol="udp",
                    ports=(str(keeper_port),),
                ),
            )
        ),
    )
