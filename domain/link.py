"""The one value that crosses between stacks: the output ``link``, written by one cluster and read by its peers.

It owns the contract and the reader's checks. It doesn't know how an output is read: a peer that has not been raised has
no output, which is for the caller to see before it calls :func:`parse_link`.

Linked stacks are raised one after the other, so for a while each reads what another version of the program wrote. A
reader takes the version before its own and the one after, and ignores fields that it does not know. In return a version
keeps every field of the one before, with its meaning: what is to go stays one version longer. (The first program to
write version 1 read nothing else and refused unknown fields, so version 1 gets none; what is new stands beside it, in
the output ``offers``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.egress_policy import link_destinations
from domain.overlay import NETBIRD_RANGE
from domain.problems import shown
from domain.values.addresses import Cidr, HostAddress
from domain.values.names import DnsZone, NodeName, StackName
from domain.values.rule_error import cause_of, without_followers
from domain.version import VERSION

SCHEMA_VERSION: Final = 1
"""What this program writes."""
LINK_OUTPUT: Final = "link"
OFFERS_OUTPUT: Final = "offers"
"""The output beside ``link`` for what was added since; a stack without it was raised by an earlier program."""


def readable(own: int) -> range:
    """The schema versions that a program which writes version ``own`` reads: the one before, its own, the one after."""
    return range(max(1, own - 1), own + 2)


READABLE: Final = readable(SCHEMA_VERSION)


class LinkError(ValueError):
    """A peer's link output that can't be used. The text names the peer, the field, the value and what to do."""


class _Contract(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class RouterLink(_Contract):
    """A router of the cluster: its Node, the Node's address, and the address that NetBird gave it."""

    node: NodeName
    node_ip: HostAddress
    peer_ip: HostAddress = Field(description="The router's address on wt0, in 100.64.0.0/10.")


class Link(_Contract):
    """What a peer has to know of a cluster."""

    schema_version: int = Field(default=SCHEMA_VERSION)
    cluster: StackName
    pod_cidr: Cidr
    service_cidr: Cidr
    dns_zone: DnsZone
    node_ips: tuple[HostAddress, ...] = Field(min_length=1)
    routers: tuple[RouterLink, ...] = Field(min_length=1)
    cluster_ips: bool = Field(default=False, exclude=True)
    """Whether the link carries ClusterIPs: the cluster offers them and its reader takes them. Put in by the reader."""

    def output(self) -> dict[str, Any]:
        """Plain data for a stack output: strings, lists and objects only."""
        return self.model_dump(mode="json")

    @property
    def router_addresses(self) -> tuple[IPv4Address, ...]:
        """The NetBird addresses of the routers, in the order of the output."""
        return tuple(router.peer_ip for router in self.routers)

    @property
    def destinations(self) -> tuple[IPv4Network, ...]:
        """What the link carries packets to."""
        return link_destinations(self.pod_cidr, self.service_cidr, cluster_ips=self.cluster_ips)


class Offers(_Contract):
    """What a cluster offers its peers besides what every link has: the output ``offers``."""

    cluster_ips: bool = False
    """Its services are reached by their ClusterIPs."""

    def output(self) -> dict[str, Any]:
        """Plain data for a stack output."""
        return self.model_dump(mode="json")


def with_cluster_ips(link: Link, offers: Offers | None, *, taken: bool) -> tuple[Link, str]:
    """The link with or without ClusterIPs, and in the second case why, as the end of a sentence; else empty.

    ``offers`` is None when the peer's stack has no such output; ``taken`` is our own ``link.cluster_ips``.
    """
    peer = link.cluster
    if not taken:
        return link, "without ClusterIPs: link.cluster_ips is false here"
    if offers is None:
        return link, f"without ClusterIPs: {peer} was raised by an earlier program; `pulumi up -s {peer}` with this one"
    if not offers.cluster_ips:
        return link, f"without ClusterIPs: link.cluster_ips is false at {peer}"
    return link.model_copy(update={"cluster_ips": True}), ""


def parse_offers(value: object, peer: str) -> Offers | None:
    """The peer's ``offers`` output as a typed value, None when there is none; raises :class:`LinkError`."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise LinkError(
            f"offers of {peer}: is {shown(value)}, not an object; run `pulumi up -s {peer}` to write it anew."
        )
    try:
        return Offers.model_validate(dict(value))
    except ValidationError as error:
        said = [_fault(detail) for detail in without_followers(error.errors())]
        raise LinkError(f"offers of {peer}: {'; '.join(said)}; run `pulumi up -s {peer}` to write it anew.") from None


def parse_link(value: object, peer: str) -> Link:
    """The peer's ``link`` output as a typed value; raises :class:`LinkError`, which names every field that is wrong."""
    if not isinstance(value, Mapping):
        raise LinkError(
            f"link of {peer}: is {shown(value)}, not an object; run `pulumi up -s {peer}` with this version."
        )
    if (reason := _version_problem(value.get("schema_version"), peer)) is not None:
        raise LinkError(f"link of {peer}: {reason}")
    try:
        link = Link.model_validate({name: entry for name, entry in value.items() if name != "cluster_ips"})
    except ValidationError as error:
        said = [_fault(detail) for detail in without_followers(error.errors())]
        raise LinkError(f"link of {peer}: {'; '.join(said)}; run `pulumi up -s {peer}` to write it anew.") from None
    faults = [
        f"routers.{index}.peer_ip {router.peer_ip} is not in NetBird's range {NETBIRD_RANGE}"
        for index, router in enumerate(link.routers)
        if router.peer_ip not in NETBIRD_RANGE
    ]
    if link.cluster != peer:
        faults.append(f"cluster {link.cluster} is not the stack that was asked")
    if faults:
        raise LinkError(f"link of {peer}: {'; '.join(faults)}; run `pulumi up -s {peer}` to write it anew.")
    return link


def _version_problem(value: object, peer: str) -> str | None:
    """Why this version is not read, and what to do; None when it is. The engine gives every number as a float."""
    version = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(version, bool) or not isinstance(version, int):
        return f"schema_version {shown(value)} is no whole number; run `pulumi up -s {peer}` to write it anew."
    if version in READABLE:
        return None
    reads = f"Isthmus {VERSION} reads {', '.join(map(str, READABLE))}"
    if version > SCHEMA_VERSION:
        return f"schema_version {version} is too new, {reads}; take the version of the program that raised {peer}."
    return f"schema_version {version} is too old, {reads}; raise both stacks with a version in between first."


def _fault(error: Any) -> str:
    field = ".".join(map(str, error["loc"]))
    if (cause := cause_of(error)) is not None:
        return f"{field} {shown(error['input'])} {cause.rule}"
    match error["type"]:
        case "missing":
            return f"{field} is missing"
        case "too_short":
            return f"{field} is empty"
        case _:
            return f"{field} {shown(error['input'])} is wrong ({error['msg'][:1].lower()}{error['msg'][1:]})"


def overlaps_of(link: Link, own: Mapping[str, IPv4Network]) -> list[str]:
    """Sentences on ranges of the peer's link that overlap ``own`` (setting name -> range) or NetBird's range.

    The stack files were compared before; this catches a peer that was raised from other files than those beside ours.
    """
    theirs = {"pod_cidr": link.pod_cidr, "service_cidr": link.service_cidr}
    ours = {**own, "NetBird's range": NETBIRD_RANGE}
    return [
        f"{link.cluster}: {their_name} {their_range} overlaps {our_name} {our_range}"
        for their_name, their_range in theirs.items()
        for our_name, our_range in ours.items()
        if their_range.overlaps(our_range)
    ]
