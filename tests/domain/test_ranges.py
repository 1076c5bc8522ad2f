from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ranges import PRIVATE_RANGES, FreeRanges

NETWORKS = st.builds(
    lambda address, prefix: IPv4Network((0x0A000000 + address, prefix), strict=False),
    st.integers(0, 2**24 - 1),
    st.integers(9, 32),
)


@given(st.lists(NETWORKS, max_size=20), st.integers(8, 30), st.none() | NETWORKS, st.integers(1, 5))
def test_what_is_taken_is_free_private_and_aligned(
    networks: list[IPv4Network], prefix: int, after: IPv4Network | None, times: int
) -> None:
    free = FreeRanges(networks)
    given_out: list[IPv4Network] = []
    for _ in range(times):
        found = free.take(prefix, after=after)
        if found is None:
            continue
        assert found.prefixlen == prefix
        assert any(found.subnet_of(pool) for pool in PRIVATE_RANGES)
        assert not any(found.overlaps(other) for other in [*networks, *given_out])
        given_out.append(found)


@given(st.lists(NETWORKS, max_size=8), st.integers(8, 12))
def test_none_is_given_only_when_none_is_left(networks: list[IPv4Network], prefix: int) -> None:
    candidates = [
        subnet for pool in PRIVATE_RANGES if pool.prefixlen <= prefix for subnet in pool.subnets(new_prefix=prefix)
    ]
    left = [candidate for candidate in candidates if not any(candidate.overlaps(network) for network in networks)]
    assert FreeRanges(networks).take(prefix) == (left[0] if left else None)


@pytest.mark.parametrize(
    ("taken", "prefix", "after", "found"),
    [
        ([], 16, None, "10.0.0.0/16"),
        ([], 12, None, "10.0.0.0/12"),
        (["10.42.0.0/16", "10.43.0.0/16"], 16, "10.42.0.0/16", "10.44.0.0/16"),
        (["10.42.0.0/16"], 16, "10.43.0.0/16", "10.43.0.0/16"),
        (["10.42.0.0/24"], 16, "10.42.0.0/16", "10.43.0.0/16"),
        (["10.255.0.0/16"], 16, "10.255.0.0/16", "172.16.0.0/16"),
        (["192.168.255.0/24"], 24, "192.168.255.0/24", "10.0.0.0/24"),
        (["10.0.0.0/8"], 8, None, None),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], 30, None, None),
    ],
)
def test_next(taken: list[str], prefix: int, after: str | None, found: str | None) -> None:
    free = FreeRanges(IPv4Network(range_) for range_ in taken)
    place = None if after is None else IPv4Network(after)
    assert free.take(prefix, after=place) == (None if found is None else IPv4Network(found))
