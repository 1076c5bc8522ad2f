"""Rules for networks and addresses, one named function and one message a rule, and the types that the models are made
of. IPv4 only.

A rule takes the value and returns it, typed, or raises :class:`RuleError`. Numbers in messages come from the
constants that are checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from domain.overlay import NETBIRD_RANGE
from domain.ranges import PRIVATE_RANGES
from domain.values.rule_error import RuleError

_UNUSABLE: Final = {
    IPv4Network("0.0.0.0/8"): "the range of 'this network'",
    IPv4Network("127.0.0.0/8"): "the loopback range",
    IPv4Network("169.254.0.0/16"): "the link-local range, where metadata services answer",
    IPv4Network("224.0.0.0/4"): "the multicast range",
    IPv4Network("240.0.0.0/4"): "a reserved range",
}
_UNUSABLE_ENDS: Final = tuple(
    (int(network.network_address), int(network.broadcast_address), network, meaning)
    for network, meaning in _UNUSABLE.items()
)
"""With their ends as numbers: IPv4Network.overlaps makes up to eight comparisons of objects for each."""


def cidr(value: object) -> IPv4Network:
    """An IPv4 network as text, such as 10.42.0.0/16, without host bits."""
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str):
        raise RuleError("is not text; an IPv4 network is expected")
    if re.fullmatch(r"([0-9]{1,3}\.){3}[0-9]{1,3}", value, re.ASCII):
        raise RuleError("has no prefix length", "add one; /32 stands for a single address")
    if not re.fullmatch(r"[0-9A-Fa-f.:]{1,45}/[0-9]{1,3}", value, re.ASCII):
        raise RuleError("is not an IPv4 network with a prefix length")
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise RuleError("is not an IPv4 network with a prefix length") from None
    if not isinstance(network, IPv4Network):
        raise RuleError("is IPv6; clusters and links are IPv4 only")
    if str(network) != value:
        raise RuleError("has host bits set; a CIDR names the network itself", f"write {network}")
    return network


USUAL_PREFIX: Final = 16
"""Of the ranges of pods and services in every example."""


def host_bits_out(*, at_least: int) -> Callable[[object], object]:
    """A rule that goes before :func:`cidr`, for a range that may not be larger than ``/at_least``: what is meant by
    host bits is seldom the larger range around them, and that one would be refused again.
    """

    def no_larger(value: object) -> object:
        found = (
            re.fullmatch(r"((?:[0-9]{1,3}[.]){3}[0-9]{1,3})/([0-9]{1,2})", value) if isinstance(value, str) else None
        )
        if found is None or not int(found[2]) < at_least:
            return value
        try:
            small, large = (ip_network(f"{found[1]}/{size}", strict=False) for size in (USUAL_PREFIX, found[2]))
        except ValueError:
            return value
        if str(large) == value:
            return value
        raise RuleError(
            f"has host bits set, and from /{at_least} on is possible; a CIDR names the network itself", f"write {small}"
        )

    return no_larger


def usable_range(network: IPv4Network) -> IPv4Network:
    """Not in a range that means something else to every machine."""
    first, last = int(network.network_address), int(network.broadcast_address)
    for unusable_first, unusable_last, unusable, meaning in _UNUSABLE_ENDS:
        if first <= unusable_last and unusable_first <= last:
            raise RuleError(f"touches {unusable}, {meaning}", "take a private range such as 10.42.0.0/16")
    return network


_PRIVATE_OR_NETBIRD: Final = (*PRIVATE_RANGES, NETBIRD_RANGE)


def private_range(network: IPv4Network) -> IPv4Network:
    """Inside RFC 1918 or NetBird's range, which the fleet check refuses with a better reason; else the Internet's
    addresses in it can't be reached from the cluster.
    """
    if any(network.subnet_of(private) for private in _PRIVATE_OR_NETBIRD):
        return network
    raise RuleError(
        "is not private; hosts of the Internet in it could not be reached any more",
        f"take a range inside {', '.join(map(str, PRIVATE_RANGES))}",
    )


def prefix_length(minimum: int, maximum: int, reason: str) -> Callable[[IPv4Network], IPv4Network]:
    """A rule on the size: from ``/minimum`` (large) to ``/maximum`` (small)."""

    def size(network: IPv4Network) -> IPv4Network:
        if minimum <= network.prefixlen <= maximum:
            return network
        nearest = min(max(network.prefixlen, minimum), maximum)
        raise RuleError(
            f"is a /{network.prefixlen}; from /{minimum} to /{maximum} is possible: {reason}",
            f"take a /{nearest}",
        )

    size.__doc__ = f"From /{minimum} to /{maximum}: {reason}."
    return size


def address(value: object) -> IPv4Address:
    """An IPv4 address as text, such as 192.168.7.11."""
    if isinstance(value, IPv4Address):
        return value
    if not isinstance(value, str):
        raise RuleError("is not text; an IPv4 address is expected")
    try:
        if len(value) > 45:
            raise ValueError
        parsed = ip_address(value)
    except ValueError:
        raise RuleError("is not an IPv4 address") from None
    if not isinstance(parsed, IPv4Address):
        raise RuleError("is IPv6; clusters and links are IPv4 only")
    return parsed


_AS_TEXT: Final = PlainSerializer(str, return_type=str)
_CIDR_SCHEMA: Final = WithJsonSchema(
    {"type": "string", "pattern": r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$", "examples": ["10.42.0.0/16"]}
)
_ADDRESS_SCHEMA: Final = WithJsonSchema({"type": "string", "format": "ipv4"})
Cidr = Annotated[IPv4Network, BeforeValidator(cidr), _AS_TEXT, _CIDR_SCHEMA]
"""Any IPv4 network, for example who may reach the API."""
NodeRange = Annotated[Cidr, AfterValidator(usable_range)]
HostAddress = Annotated[IPv4Address, BeforeValidator(address), _AS_TEXT, _ADDRESS_SCHEMA]
