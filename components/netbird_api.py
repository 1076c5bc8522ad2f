"""Pulumi resources for what NetBird's operator has no custom resource for, by NetBird's REST API.

The providers lie in modules that can be imported: the engine keeps a reference to the class instead of its code, so an
edit there shows no change in a preview. State of earlier releases refers to them by this module, so their names stay
here. The address of the management server and the token come to a provider from the stack's configuration
(``configure``), never through a resource's inputs, so no resource state holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi
from pulumi.dynamic import Resource

from components.inputs import text_of
from components.netbird_claim import ClaimProvider, SetupKeyProvider
from components.netbird_networks import NetworkResourceProvider
from components.netbird_objects import DnsZoneProvider, GroupProvider, PolicyProvider
from components.netbird_peers import RouterPeersProvider

if TYPE_CHECKING:
    from domain.overlay import NetworkResource, Policy

__all__ = [
    "ClaimProvider",
    "DnsZoneProvider",
    "GroupProvider",
    "NetbirdClaim",
    "NetbirdDnsZone",
    "NetbirdGroup",
    "NetbirdNetworkResource",
    "NetbirdPolicy",
    "NetbirdRouterPeers",
    "NetbirdSetupKey",
    "NetworkResourceProvider",
    "PolicyProvider",
    "RouterPeersProvider",
    "SetupKeyProvider",
]


class NetbirdClaim(Resource, module="isthmus", name="NetbirdClaim"):
    """A stack's claim on its names in the NetBird account. ``instance`` is the random number of the stack's state;
    everything else in NetBird takes it from here, and so comes after the claim.
    """

    instance: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        cluster: str,
        instance: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(ClaimProvider(), resource_name, {"cluster": cluster, "instance": instance}, opts)


class NetbirdSetupKey(Resource, module="isthmus", name="NetbirdSetupKey"):
    """A look at the setup key that the operator makes. ``renewals`` counts how often it had to be made anew."""

    renewals: pulumi.Output[int]

    def __init__(self, resource_name: str, *, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {"name": name, "renewals": None, **SetupKeyProvider.expected}
        super().__init__(SetupKeyProvider(), resource_name, props, opts)


class NetbirdGroup(Resource, module="isthmus", name="NetbirdGroup"):
    """A NetBird group. ``owns_peers``: whoever is in it goes with it."""

    name: pulumi.Output[str]

    def __init__(
        self, resource_name: str, *, name: str, owns_peers: bool = False, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(
            GroupProvider(), resource_name, {"name": name, "owns_peers": owns_peers, **GroupProvider.expected}, opts
        )


class NetbirdDnsZone(Resource, module="isthmus", name="NetbirdDnsZone"):
    """A custom DNS zone in NetBird; a ``NetworkRouter`` has to name one. ``group`` is the name of its distribution
    group.
    """

    name: pulumi.Output[str]
    domain: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: str,
        domain: str,
        group: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"name": name, "domain": domain, "group": group, **DnsZoneProvider.expected}
        super().__init__(DnsZoneProvider(), resource_name, props, opts)


class NetbirdNetworkResource(Resource, module="isthmus", name="NetbirdNetworkResource"):
    """A CIDR behind the network that the operator made for the router.

    ``network_id`` is the one that the router's status names; a new network means a new resource. ``router_uid`` is the
    uid of the router object in Kubernetes.
    """

    def __init__(
        self,
        resource_name: str,
        resource: NetworkResource,
        *,
        claim: NetbirdClaim,
        cluster: str,
        network_id: pulumi.Input[str],
        group: pulumi.Input[str],
        router_uid: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "name": resource.name,
            "network": resource.network,
            "network_id": network_id,
            "address": text_of(resource.address),
            "group": group,
            "router_uid": router_uid,
            "description": resource.description,
            "cluster": cluster,
            "instance": claim.instance,
            **NetworkResourceProvider.expected,
        }
        super().__init__(NetworkResourceProvider(), resource_name, props, opts)


class NetbirdPolicy(Resource, module="isthmus", name="NetbirdPolicy"):
    """A policy between two groups, which are given by their names.

    ``peer_routers`` are the NetBird addresses of the peer's routers. Other ones mean that the peer was raised anew,
    with new groups behind the same names, and that its end took the policy along: it is put right then.
    """

    def __init__(
        self,
        resource_name: str,
        policy: Policy,
        *,
        claim: NetbirdClaim,
        cluster: str,
        peer_routers: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "name": policy.name,
            "description": policy.description,
            "source": policy.source_group,
            "destination": policy.destination_group,
            "protocol": policy.protocol,
            "ports": list(policy.ports),
            "bidirectional": policy.bidirectional,
            "cluster": cluster,
            "instance": claim.instance,
            "peer_routers": list(peer_routers),
            **PolicyProvider.expected,
        }
        super().__init__(PolicyProvider(), resource_name, props, opts)


class NetbirdRouterPeers(Resource, module="isthmus", name="NetbirdRouterPeers"):
    """The NetBird addresses of the router nodes of this cluster: ``peers`` is {node name: address}.

    ``hostnames`` is {node name: what its agent calls itself in NetBird}, ``router_uid`` as in
    :class:`NetbirdNetworkResource`. ``generations`` are those of nodes that were made anew (``domain/generation.py``):
    such a router has another identity, and is looked for again.
    """

    peers: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        resource_name: str,
        *,
        group: pulumi.Input[str],
        hostnames: Mapping[str, str],
        router_uid: pulumi.Input[str],
        generations: Mapping[str, int],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "group": group,
            "hostnames": dict(hostnames),
            "router_uid": router_uid,
            # None is left out: a stack in which no router was made anew has nothing new in its state.
            "generations": dict(generations) or None,
            "peers": None,
            **RouterPeersProvider.expected,
        }
        super().__init__(RouterPeersProvider(), resource_name, props, opts)
