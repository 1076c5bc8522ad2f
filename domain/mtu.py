"""The MTU chain: underlay, WireGuard, wt0, VXLAN, pod. What each layer adds, and the largest sizes that fit together.

It owns the arithmetic. All sizes are bytes of whole IP packets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from domain.overlay import MTU_MAXIMUM, WIREGUARD_OVERHEAD

VXLAN_OVERHEAD: Final = 50
"""Bytes that VXLAN over IPv4 adds: outer IP 20, UDP 8, VXLAN 8, inner Ethernet 14."""
REDIRECT_MARGIN: Final = 10
"""Cilium's egress redirect drops IP packets longer than the MTU of wt0 less 10, silently: it counts an Ethernet
header of 14 bytes that wt0 doesn't have, and allows 4."""
ETHERNET_MTU: Final = 1500
"""Taken for an underlay, and for the network between nodes, of which nothing else is known."""


@dataclass(frozen=True)
class MtuChain:
    """Bytes of the largest IP packet on each layer: ``netbird`` on wt0, ``cilium`` between nodes, ``pod`` of a pod."""

    netbird: int
    cilium: int

    @property
    def underlay(self) -> int:
        """What the path between the routers has to take in one piece."""
        return self.netbird + WIREGUARD_OVERHEAD

    @property
    def pod(self) -> int:
        """What a pod may send: the planned size that has to pass through the link unbroken."""
        return self.cilium - VXLAN_OVERHEAD

    @property
    def limit(self) -> int:
        """The largest pod packet that wt0 takes."""
        return self.netbird - REDIRECT_MARGIN

    @property
    def fits(self) -> bool:
        """Whether everything that a pod may send passes wt0."""
        return self.pod <= self.limit


def largest_netbird_mtu(underlay: int) -> int:
    """The largest MTU of wt0 whose packets pass an underlay of this MTU in one piece."""
    return min(underlay - WIREGUARD_OVERHEAD, MTU_MAXIMUM)


def largest_cilium_mtu(netbird: int, node_network: int) -> int:
    """The largest MTU for Cilium with which everything that a pod may send passes wt0 and the network between the
    nodes.
    """
    return min(netbird - REDIRECT_MARGIN + VXLAN_OVERHEAD, node_network, MTU_MAXIMUM)


def largest_chain(underlay: int, node_network: int = ETHERNET_MTU) -> MtuChain:
    """The largest sizes over an underlay of this MTU."""
    netbird = largest_netbird_mtu(underlay)
    return MtuChain(netbird=netbird, cilium=largest_cilium_mtu(netbird, node_network))
