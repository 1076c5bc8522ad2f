"""Rules for the MTU chain of one stack; what it has in common with its peers is ``fleet.py``'s."""

from __future__ import annotations

from collections.abc import Iterator

from domain.mtu import ETHERNET_MTU, REDIRECT_MARGIN, VXLAN_OVERHEAD, MtuChain, largest_netbird_mtu
from domain.overlay import WIREGUARD_OVERHEAD
from domain.places import registry
from domain.problems import Problem
from domain.settings.draft import StackDraft, known


def mtu_chain(draft: StackDraft) -> Iterator[Problem]:
    """What a pod may send passes wt0, and what a node may send passes the network between the nodes."""
    cilium, netbird = known(draft.settings, "cilium", "mtu"), known(draft.settings, "netbird", "mtu")
    if cilium is None:
        return
    if netbird is not None and not (chain := MtuChain(netbird=netbird, cilium=cilium)).fits:
        largest = chain.limit + VXLAN_OVERHEAD
        yield Problem(
            draft.stack,
            "cilium.mtu",
            str(cilium),
            f"lets pods send packets of {chain.pod} bytes, and wt0 with netbird.mtu {netbird} takes {chain.limit}: "
            f"cilium.mtu - {VXLAN_OVERHEAD} <= netbird.mtu - {REDIRECT_MARGIN}",
            f"take at most {largest}, or raise netbird.mtu",
        )
    for place in registry.places_of(draft):
        network = place.node_network
        if network is not None and cilium > network.mtu:
            rule = f"is more than {network.mtu}, the MTU of {network.whose}"
            yield Problem(draft.stack, "cilium.mtu", str(cilium), rule, f"take at most {network.mtu}")


def netbird_in_underlay(draft: StackDraft) -> Iterator[Problem]:
    """WireGuard's packets pass the path between the routers in one piece."""
    netbird, given = known(draft.settings, "netbird", "mtu"), known(draft.settings, "netbird", "underlay_mtu")
    if netbird is None or not hasattr(known(draft.settings, "netbird"), "underlay_mtu"):
        return
    underlay = given or ETHERNET_MTU
    if netbird + WIREGUARD_OVERHEAD > underlay:
        said = (
            f"netbird.underlay_mtu says {underlay}"
            if given
            else f"an underlay takes {underlay}, if nothing else is said"
        )
        yield Problem(
            draft.stack,
            "netbird.mtu",
            str(netbird),
            f"makes packets of {netbird + WIREGUARD_OVERHEAD} bytes, since WireGuard adds {WIREGUARD_OVERHEAD}; {said}",
            f"take at most {largest_netbird_mtu(underlay)}, or correct netbird.underlay_mtu",
        )
