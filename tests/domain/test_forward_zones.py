from __future__ import annotations

from ipaddress import IPv4Address

from domain.corefile import LinkedZone, custom_zones, zone_key
from tests.domain.samples import DE, golden, settings_of

RELAY = IPv4Address("10.43.0.53")


def test_a_forwarded_zone_is_a_server_block_of_its_own() -> None:
    forwarded = {"corp.example.com": ["192.168.9.53", "192.168.9.54"], "9.168.192.in-addr.arpa": ["192.168.9.53"]}
    dns = settings_of("de", DE, {"dns": {"forward_zones": forwarded}}).dns
    zones = custom_zones("de.internal", [LinkedZone("mn", "mn.internal")], RELAY, dns)
    assert list(zones) == [
        zone_key(zone) for zone in ("de.internal", "9.168.192.in-addr.arpa", "corp.example.com", "mn.internal")
    ]
    golden("forward-zone", zones[zone_key("corp.example.com")])
