from __future__ import annotations

import itertools
from ipaddress import IPv4Address

import pytest

from domain.corefile import LinkedZone, custom_zones, zone_key
from domain.settings.installed import DnsSettings
from domain.values.forwarders import Forwarder, forwarder
from domain.values.rule_error import RuleError
from tests.domain.samples import DE, golden, settings_of

RELAY = IPv4Address("10.43.0.53")


def forwarding(forwarded: dict[str, list[str]]) -> DnsSettings:
    return settings_of("de", DE, {"dns": {"forward_zones": forwarded}}).dns


def test_a_forwarded_zone_is_a_server_block_of_its_own() -> None:
    dns = forwarding({"corp.example.com": ["192.168.9.53", "192.168.9.54"], "9.168.192.in-addr.arpa": ["192.168.9.53"]})
    zones = custom_zones("de.internal", [LinkedZone("mn", "mn.internal")], RELAY, dns)
    assert list(zones) == [
        zone_key(zone) for zone in ("de.internal", "9.168.192.in-addr.arpa", "corp.example.com", "mn.internal")
    ]
    golden("forward-zone", zones[zone_key("corp.example.com")])


def test_a_forwarded_zone_over_tls_takes_one_certificate() -> None:
    dns = forwarding({"example.org": ["tls://9.9.9.9#dns.quad9.net", "tls://149.112.112.112:8853#dns.quad9.net"]})
    golden("forward-zone-tls", custom_zones("de.internal", [], RELAY, dns)[zone_key("example.org")])


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("192.168.9.53", Forwarder(IPv4Address("192.168.9.53"))),
        ("192.168.9.53:53", Forwarder(IPv4Address("192.168.9.53"), 53)),
        ("192.168.9.53:5353", Forwarder(IPv4Address("192.168.9.53"), 5353)),
        ("tls://9.9.9.9#dns.quad9.net", Forwarder(IPv4Address("9.9.9.9"), None, "dns.quad9.net")),
        ("tls://9.9.9.9:8853#dns", Forwarder(IPv4Address("9.9.9.9"), 8853, "dns")),
    ],
)
def test_a_server_is_what_is_written(written: str, means: Forwarder) -> None:
    dns = forwarding({"example.org": [written]})
    assert dns.forward_zones == {"example.org": (means,)}
    # What other programs are handed is what the stack file says.
    assert dns.model_dump(mode="json")["forward_zones"] == {"example.org": [written]}


PARTS = (
    ("", "tls://", "dns://", " "),
    ("9.9.9.9", "[::1]", "::1", "a", "9.9.9.9 8.8.8.8", "/etc/resolv.conf", ""),
    ("", ":853", ":0", ":", ":99999", ":8 ", ":8\n"),
    ("", "#dns.quad9.net", "#", "#A", "#a }", "#a\n", "#a.", "#-a", "#9.9.9.9", "#853", "#{$HOME}"),
)


def test_nothing_but_an_address_a_port_and_a_name_comes_into_a_corefile() -> None:
    taken = set()
    for written in map("".join, itertools.product(*PARTS)):
        try:
            found = forwarder(written)
        except RuleError:
            continue
        assert str(found) == written
        assert forwarder(written) == found
        taken.add(written)
    assert taken == {
        "9.9.9.9", "9.9.9.9:853", "tls://9.9.9.9#dns.quad9.net", "tls://9.9.9.9:853#dns.quad9.net"
    }  # fmt: skip
