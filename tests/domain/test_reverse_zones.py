from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from domain.reverse_zones import reverse_zones


@pytest.mark.parametrize(
    ("range_", "zones"),
    [
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.52.0.0/16", ["52.10.in-addr.arpa"]),
        ("10.44.0.0/14", ["44.10.in-addr.arpa", "45.10.in-addr.arpa", "46.10.in-addr.arpa", "47.10.in-addr.arpa"]),
        ("192.168.8.0/23", ["8.168.192.in-addr.arpa", "9.168.192.in-addr.arpa"]),
        ("10.53.1.4/31", ["4.1.53.10.in-addr.arpa", "5.1.53.10.in-addr.arpa"]),
    ],
)
def test_zones_end_at_octets(range_: str, zones: list[str]) -> None:
    assert reverse_zones([IPv4Network(range_)]) == zones


def test_each_address_is_in_one_zone() -> None:
    for prefix in range(17, 27):
        (whole,) = {IPv4Network(f"10.53.0.0/{prefix}")}
        zones = reverse_zones([whole])
        assert len(zones) == len(set(zones))
        for address in (whole[0], whole[-1], whole[whole.num_addresses // 2]):
            assert sum(f".{address.reverse_pointer}".endswith(f".{zone}") for zone in zones) == 1
        outside = whole[-1] + 1
        assert not any(f".{outside.reverse_pointer}".endswith(f".{zone}") for zone in zones)


def test_ranges_are_in_the_order_of_their_addresses() -> None:
    assert reverse_zones([IPv4Network("10.63.0.0/16"), IPv4Network("10.62.0.0/16")]) == [
        "62.10.in-addr.arpa",
        "63.10.in-addr.arpa",
    ]
