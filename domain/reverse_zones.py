"""The zones in which DNS has the names of addresses (RFC 1035, 3.5): which of them a range has."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

REVERSE: Final = "in-addr.arpa"
"""Above all names of IPv4 addresses."""


def reverse_zones(ranges: Sequence[IPv4Network]) -> list[str]:
    """The zones that hold the addresses of these ranges and no others, in the order of the addresses. They end at
    octets, so a range has up to 128 of them: 10.44.0.0/15 has 44.10.in-addr.arpa and 45.10.in-addr.arpa.
    """
    found = []
    for whole in sorted(ranges):
        octets = max(1, -(-whole.prefixlen // 8))
        for subnet in whole.subnets(new_prefix=8 * octets):
            labels = str(subnet.network_address).split(".")[:octets]
            found.append(".".join([*reversed(labels), REVERSE]))
    return found
