"""The plan of a whole fleet as data: what lies where, what every link will carry, and how large a packet may be.

It owns what a plan tells. Only for stacks that have passed every check; how it is printed is the command line's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from domain import overlay
from domain.egress_policy import egress_policy_name, link_destinations
from domain.mtu import REDIRECT_MARGIN, VXLAN_OVERHEAD, MtuChain
from domain.overlay import WIREGUARD_OVERHEAD
from domain.places import registry
from domain.places.registry import StackSettings
from domain.plan import AddressPlan, address_plan
from domain.settings.draft import known


@dataclass(frozen=True)
class Layer:
    """One layer of the MTU chain: the largest IP packet on it, in bytes, and how that follows from the one above."""

    name: str
    mtu: int
    meaning: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"layer": self.name, "mtu": self.mtu, "meaning": self.meaning}


@dataclass(frozen=True)
class Versions:
    """What runs in a cluster. ``k3s`` is None in a cluster that exists already; ``management_url`` is NetBird's."""

    k3s: str | None
    cilium: str
    netbird_operator: str
    netbird_agent: str
    management_url: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "k3s": self.k3s,
            "cilium": self.cilium,
            "netbird_operator": self.netbird_operator,
            "netbird_agent": self.netbird_agent,
        }


@dataclass(frozen=True)
class Access:
    """Who may reach the servers from outside, by the firewall that the program makes."""

    api: tuple[IPv4Network, ...]
    ssh: tuple[IPv4Network, ...]


@dataclass(frozen=True)
class ClusterReport:
    """One cluster: where it stands, in words, its address plan, what runs in it, and who may reach it. ``access`` is
    None where the firewall is the site's own.
    """

    place: str
    plan: AddressPlan
    own_networks: Mapping[str, IPv4Network | None]
    """The network around the nodes', by the section of each place that makes one. None where the cluster is not."""
    versions: Versions
    access: Access | None

    @property
    def name(self) -> str:
        """The cluster's name, which is its stack's."""
        return self.plan.cluster

    @property
    def own_network(self) -> IPv4Network | None:
        """The network around the nodes', where the program makes one."""
        return next((network for network in self.own_networks.values() if network is not None), None)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The MTU chain from the Internet to the pod."""
        return mtu_layers(self.plan.mtu)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        plan = self.plan
        return {
            "cluster": plan.cluster,
            "place": self.place,
            "versions": self.versions.as_json(),
            "netbird_management_url": self.versions.management_url,
            "api_allowed_cidrs": None if self.access is None else [str(network) for network in self.access.api],
            "ssh_allowed_cidrs": None if self.access is None else [str(network) for network in self.access.ssh],
            "pod_cidr": str(plan.pod_cidr),
            "service_cidr": str(plan.service_cidr),
            "node_cidr": str(plan.node_cidr),
            **{f"{section}_network": _text(network) for section, network in self.own_networks.items()},
            "dns_zone": plan.dns_zone,
            "cluster_dns": str(plan.cluster_dns),
            "kubernetes_service": str(plan.kubernetes_service),
            "relay_service_ip": str(plan.relay_service_ip),
            "nodes": [
                {
                    "name": node.name,
                    "role": node.role,
                    "router": node.router,
                    "address": str(node.address),
                    "server_type": node.server_type,
                    "pool": None if node.order is None or not node.order.pool else node.order.pool,
                    "location": None if node.order is None else node.order.location,
                }
                for node in plan.nodes
            ],
            "mtu": [layer.as_json() for layer in self.layers],
        }


@dataclass(frozen=True)
class LinkReport:
    """One direction of a link: what pods of ``source`` reach in ``target``, and by which objects."""

    source: str
    target: str
    destination_cidrs: tuple[IPv4Network, ...]
    zone: str
    mtu: int
    """The largest packet that passes from pod to pod in this direction."""
    egress_policy: str
    netbird_policies: tuple[overlay.Policy, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "from": self.source,
            "to": self.target,
            "destination_cidrs": [str(network) for network in self.destination_cidrs],
            "dns_zone": self.zone,
            "mtu": self.mtu,
            "egress_policy": self.egress_policy,
            "netbird_policies": [
                {"name": policy.name, "protocol": policy.protocol, "ports": list(policy.ports)}
                for policy in self.netbird_policies
            ],
        }


@dataclass(frozen=True)
class FleetReport:
    """All clusters by name, and all links, each direction by itself."""

    clusters: tuple[ClusterReport, ...]
    links: tuple[LinkReport, ...]

    def only(self, stack: str) -> FleetReport:
        """What concerns this stack: its cluster, and its links in both directions."""
        return FleetReport(
            clusters=tuple(cluster for cluster in self.clusters if cluster.name == stack),
            links=tuple(link for link in self.links if stack in (link.source, link.target)),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "clusters": [cluster.as_json() for cluster in self.clusters],
            "links": [link.as_json() for link in self.links],
        }


def fleet_report(stacks: Mapping[str, StackSettings]) -> FleetReport:
    """The report on stacks that have passed every check."""
    clusters = {name: _cluster(stacks[name]) for name in sorted(stacks)}
    links = [
        _link(
            clusters[name].plan,
            clusters[peer].plan,
            cluster_ips=stacks[name].link.cluster_ips and stacks[peer].link.cluster_ips,
        )
        for name in clusters
        for peer in sorted(stacks[name].peers)
    ]
    return FleetReport(tuple(clusters.values()), tuple(links))


def _cluster(settings: StackSettings) -> ClusterReport:
    place, access = settings.place, settings.place.access(settings.section)
    return ClusterReport(
        place=place.said(settings.section),
        plan=address_plan(settings),
        own_networks={
            kind.section: known(settings, *kind.own_network.split("."))
            for kind in registry.PLACES
            if kind.own_network is not None
        },
        versions=Versions(
            k3s=None if settings.k3s is None else settings.k3s.version,
            cilium=settings.cilium.version,
            netbird_operator=settings.netbird.operator_version,
            netbird_agent=settings.netbird.agent_image,
            management_url=settings.netbird.management_url,
        ),
        access=None if access is None else Access(**access),
    )


def _text(network: IPv4Network | None) -> str | None:
    return None if network is None else str(network)


def _link(own: AddressPlan, peer: AddressPlan, *, cluster_ips: bool) -> LinkReport:
    return LinkReport(
        source=own.cluster,
        target=peer.cluster,
        destination_cidrs=link_destinations(peer.pod_cidr, peer.service_cidr, cluster_ips=cluster_ips),
        zone=peer.dns_zone,
        mtu=min(own.mtu.pod, own.mtu.limit, peer.mtu.pod),
        egress_policy=egress_policy_name(peer.cluster),
        netbird_policies=overlay.policies(own.cluster, peer.cluster, cluster_ips=cluster_ips),
    )


def mtu_layers(chain: MtuChain) -> tuple[Layer, ...]:
    """The chain, the outermost layer first."""
    return (
        Layer("underlay", chain.underlay, "what the path between the routers has to take at least"),
        Layer("WireGuard", chain.underlay - WIREGUARD_OVERHEAD, f"underlay less {WIREGUARD_OVERHEAD}"),
        Layer("NetBird", chain.netbird, "netbird.mtu, that of wt0"),
        Layer("egress", chain.limit, f"wt0 less {REDIRECT_MARGIN}, which Cilium's redirect takes off"),
        Layer("VXLAN", chain.cilium, "cilium.mtu, between the nodes"),
        Layer("pod", chain.pod, f"VXLAN less {VXLAN_OVERHEAD}: what a pod may send"),
    )
