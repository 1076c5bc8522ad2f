"""The egress gateway policy of a link: pods' packets for the peer leave by the router's wt0. Owns that one object.

It must be applied only when wt0 has its address and its route: Cilium picks the source address when it evaluates the
policy and doesn't look again (https://docs.cilium.io/en/v1.19/network/egress-gateway/egress-gateway/).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any, Final

from domain.names import ROUTER_LABEL, ROUTER_LABEL_VALUE
from domain.overlay import NETBIRD_INTERFACE, NETBIRD_RANGE

OWN_POLICIES: Final = "isthmus-to-"
"""With this the names of our policies begin."""


def egress_policy_name(peer: str) -> str:
    """Name of the policy (cluster-scoped)."""
    return f"{OWN_POLICIES}{peer}"


def link_destinations(
    pod_cidr: IPv4Network, service_cidr: IPv4Network, *, cluster_ips: bool
) -> tuple[IPv4Network, ...]:
    """What a link carries: the peer's pods, which is also where the names of its headless services lead, and with
    ``cluster_ips`` its services.
    """
    return (pod_cidr, service_cidr) if cluster_ips else (pod_cidr,)


def egress_policy(peer: str, destination_cidrs: Sequence[IPv4Network]) -> dict[str, Any]:
    """A ``CiliumEgressGatewayPolicy`` for all pods, to exactly these ranges. Which of the routers is the gateway is
    added by whoever steers the link (:mod:`domain.router_moves`, the keeper): ``kubernetes.io/hostname`` beside the
    label.

    ValueError when there is none, or when one touches NetBird's range: a reply to a peer's router would be caught by
    the policy and sent round again.
    """
    if not destination_cidrs:
        raise ValueError(f"the egress policy to {peer} needs a destination")
    for network in destination_cidrs:
        if network.overlaps(NETBIRD_RANGE):
            raise ValueError(f"the egress policy to {peer} must not cover {NETBIRD_RANGE}, and {network} does")
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEgressGatewayPolicy",
        "metadata": {"name": egress_policy_name(peer)},
        "spec": {
            "selectors": [{"podSelector": {}}],
            "destinationCIDRs": [str(network) for network in destination_cidrs],
            "egressGateway": {
                "nodeSelector": {"matchLabels": {ROUTER_LABEL: ROUTER_LABEL_VALUE}},
                "interface": NETBIRD_INTERFACE,
            },
        },
    }
