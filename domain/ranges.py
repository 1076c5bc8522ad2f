"""Which address range is still free beside those that are taken.

It owns that arithmetic; it knows nothing of stack files. IPv4 only.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Final

PRIVATE_RANGES: Final = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
"""RFC 1918. Proposals come from here, in this order."""


class FreeRanges:
    """What is left of the private ranges. Every range that :meth:`take` gives is taken from then on, so two proposals
    never collide with each other either.
    """

    def __init__(self, taken: Iterable[IPv4Network]) -> None:
        spans = sorted((int(network.network_address), int(network.broadcast_address)) for network in taken)
        self._spans: list[tuple[int, int]] = []
        for first, last in spans:
            if self._spans and first <= self._spans[-1][1]:
                self._spans[-1] = (self._spans[-1][0], max(last, self._spans[-1][1]))
            else:
                self._spans.append((first, last))
        self._skips: dict[int, dict[int, int]] = {}

    def take(self, prefix_length: int, after: IPv4Network | None = None) -> IPv4Network | None:
        """The next free range of this size: the first one behind the start of ``after``, else the first of all.

        None when there is none of that size left.
        """
        start = 0 if after is None else int(after.network_address)
        found = self._from(prefix_length, start)
        if found is None and start:
            found = self._from(prefix_length, 0)
        if found is not None:
            insort(self._spans, (int(found.network_address), int(found.broadcast_address)))
        return found

    def _from(self, prefix_length: int, start: int) -> IPv4Network | None:
        size = 1 << (32 - prefix_length)
        for pool in PRIVATE_RANGES:
            if prefix_length < pool.prefixlen:
                continue
            end = int(pool.broadcast_address)
            at = self._first_free(_aligned(max(start, int(pool.network_address)), size), size)
            if at + size - 1 <= end:
                return IPv4Network((at, prefix_length))
        return None

    def _first_free(self, at: int, size: int) -> int:
        """The first multiple of the size from ``at`` on where nothing is taken.

        Nothing that is taken gets free again, so every place that was found taken is remembered with where to look
        instead: many searches together cost about as much as one walk over all spans.
        """
        skips = self._skips.setdefault(size, {})
        passed = []
        while True:
            if (further := skips.get(at)) is None:
                index = bisect_left(self._spans, at, key=lambda span: span[1])
                if index == len(self._spans) or self._spans[index][0] > at + size - 1:
                    break
                further = _aligned(self._spans[index][1] + 1, size)
            passed.append(at)
            at = further
        for address in passed:
            skips[address] = at
        return at


def _aligned(address: int, size: int) -> int:
    return -(-address // size) * size


def example_subnet(network: IPv4Network) -> IPv4Network:
    """A subnet for the servers in a network that the program makes."""
    return IPv4Network((network[256] if network.prefixlen < 24 else network[0], max(24, network.prefixlen)))
