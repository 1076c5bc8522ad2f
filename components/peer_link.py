"""Reads the ``link`` output of a peer's stack. The only place where another stack's outputs come in.

A peer that has not been raised is pending, which is no error: its stack does not exist yet (``pulumi stack init`` was
never run for it), has never been deployed, or was destroyed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import pulumi

from components.stack_outputs import last_outputs, stack_name
from domain.keeper import KEEPER_OUTPUT, peer_port
from domain.link import (
    LINK_OUTPUT,
    OFFERS_OUTPUT,
    Link,
    LinkError,
    overlaps_of,
    parse_link,
    parse_offers,
    with_cluster_ips,
)
from domain.places.outputs import RAISED_WITH, machines_called
from domain.plan import AddressPlan

LINKS_OUTPUT: Final = "links"
LINKED: Final = "linked"


@dataclass(frozen=True)
class PeerLink:
    """A peer and what its stack says of itself; ``link`` is None while it is pending, and ``message`` says why.
    ``keeper_port`` is None where it has no keepers. ``links_back``: its last update knew our link.
    """

    peer: str
    link: Link | None
    message: str
    keeper_port: int | None = None
    links_back: bool = False

    @property
    def status(self) -> dict[str, str]:
        """For the output ``links``."""
        return {"status": "pending" if self.link is None else LINKED, "message": self.message}


@dataclass(frozen=True)
class Coming:
    """``names`` of machines that are to be made in the place of that name, where no other may have them."""

    place: str
    names: Collection[str]


async def read_peer_link(
    peer: str, plan: AddressPlan, *, cluster_ips: bool, coming: Coming = Coming("", ())
) -> PeerLink:
    """The peer's link as its stack's last update left it, checked against our own plan. ``cluster_ips``: whether we
    take its ClusterIPs, where it offers them.

    Raises ``pulumi.RunError`` when there is one that can't be used. Has to be awaited by the program itself, so that
    in a preview, too, it is known whether the objects of this link exist.
    """
    then = f"run `pulumi up -s {peer}`, then this stack again"
    if await last_outputs(peer) is None:
        return PeerLink(peer, None, f"link pending: there is no stack {peer} yet; {then}")
    stack = pulumi.StackReference(peer, stack_name=stack_name(peer))
    value = await _output(stack, LINK_OUTPUT)
    if value is None:
        return PeerLink(peer, None, f"link pending: stack {peer} has no link yet; {then}")
    try:
        offers = parse_offers(await _output(stack, OFFERS_OUTPUT), peer)
        link, without = with_cluster_ips(parse_link(value, peer), offers, taken=cluster_ips)
    except LinkError as error:
        raise pulumi.RunError(f"{plan.cluster}: {error}") from None
    if overlaps := overlaps_of(link, {"network.pod_cidr": plan.pod_cidr, "network.service_cidr": plan.service_cidr}):
        raise pulumi.RunError(f"{plan.cluster}: link of {'; '.join(overlaps)}; linked clusters need distinct ranges.")
    named = {name: await _output(stack, name) for name in (RAISED_WITH, "node_ips")}
    if there := machines_called(named, coming.place, coming.names):
        raise pulumi.RunError(
            f"{plan.cluster}: {', '.join(there)}: {peer} runs a machine of that name, and such a name is there once; "
            f"call a pool otherwise here, or there and `pulumi up -s {peer}` first."
        )
    addresses = ", ".join(str(address) for address in link.router_addresses)
    services = f", services {link.service_cidr}" if link.cluster_ips else ""
    message = f"linked: pods {link.pod_cidr}{services} and zone {link.dns_zone} by {addresses}"
    keeper_port = peer_port(await _output(stack, KEEPER_OUTPUT))
    theirs = await _output(stack, LINKS_OUTPUT)
    ours = theirs.get(plan.cluster) if isinstance(theirs, Mapping) else None
    links_back = isinstance(ours, Mapping) and ours.get("status") == LINKED
    return PeerLink(peer, link, f"{message}; {without}" if without else message, keeper_port, links_back)


async def _output(stack: pulumi.StackReference, name: str) -> object:
    details = await stack.get_output_details(name)
    return details.value if details.value is not None else details.secret_value
