from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from domain.corefile import (
    FRONT_WAIT_MS,
    RELAY_WAIT_MS,
    LinkedZone,
    PeerZone,
    custom_zones,
    front_corefile,
    own_zone,
    peer_zone,
    relay_corefile,
)
from domain.settings.installed import DnsSettings, FallbackSettings
from domain.values.forwarders import Forwarder
from tests.domain.samples import golden

RELAY_IP = IPv4Address("10.43.0.53")
MN = PeerZone("astring-mn.internal", (IPv4Address("100.92.0.7"),))
US = PeerZone("astring-us.internal", (IPv4Address("100.92.0.8"), IPv4Address("100.92.0.9")))
TO_MN = LinkedZone("mn", MN.zone, (IPv4Network("10.52.0.0/15"),))
TO_US = LinkedZone("us", US.zone, (IPv4Network("10.62.0.0/16"), IPv4Network("10.63.0.0/20")))


def relay(*peers: PeerZone) -> str:
    return relay_corefile(
        zone="astring-de.internal",
        cluster_dns=IPv4Address("10.43.0.10"),
        pod_cidr=IPv4Network("10.42.0.0/16"),
        node_cidr=IPv4Network("10.0.1.0/24"),
        peers=peers,
    )


def test_zones() -> None:
    golden("own-zone", own_zone("astring-de.internal", DnsSettings()))
    golden("peer-zone", peer_zone(TO_MN, RELAY_IP, DnsSettings()))


def test_a_front_that_was_replaced_costs_no_name() -> None:
    plain = custom_zones("astring-de.internal", [TO_MN], RELAY_IP, DnsSettings())
    front = custom_zones("astring-de.internal", [TO_MN], RELAY_IP, DnsSettings(), front=True)
    key = "astring-mn.internal.server"
    assert front[key] == plain[key].replace("max_connect_attempts 1\n", "max_connect_attempts 2\n") != plain[key]
    assert {**front, key: ""} == {**plain, key: ""}


def test_settings_show() -> None:
    dns = DnsSettings(record_ttl_seconds=7, cache_seconds=60, stale_seconds=0)
    assert "        ttl 7\n" in own_zone("de.internal", dns)
    assert "    cache 60 {\n        servfail 2s\n    }\n" in peer_zone(LinkedZone("mn", "mn.internal"), RELAY_IP, dns)


def test_config_map() -> None:
    zones = custom_zones("astring-de.internal", [TO_US, TO_MN], RELAY_IP, DnsSettings())
    assert list(zones) == ["astring-de.internal.server", "astring-mn.internal.server", "astring-us.internal.server"]
    assert zones == custom_zones("astring-de.internal", [TO_MN, TO_US], RELAY_IP, DnsSettings())


def test_only_the_own_zone_without_peers() -> None:
    assert list(custom_zones("astring-de.internal", [], RELAY_IP, DnsSettings())) == ["astring-de.internal.server"]


def test_names_of_a_peers_addresses_are_asked_of_it() -> None:
    text = peer_zone(TO_US, RELAY_IP, DnsSettings())
    zones = ["62.10.in-addr.arpa:53", *(f"{third}.63.10.in-addr.arpa:53" for third in range(16))]
    assert f"\n{' '.join(zones)} {{\n" in text
    forwarded = DnsSettings(forward_zones={"62.10.in-addr.arpa": (Forwarder(IPv4Address("192.168.9.53")),)})
    assert "\n0.63.10.in-addr.arpa:53 1.63" in peer_zone(TO_US, RELAY_IP, forwarded)
    assert "62.10.in-addr.arpa" not in peer_zone(TO_US, RELAY_IP, forwarded)


def with_fallback(*peers: str) -> DnsSettings:
    return DnsSettings(fallback=FallbackSettings(zone="any.internal", peers=peers))


def test_fallback() -> None:
    def fallback(linked: list[LinkedZone], *peers: str) -> str:
        return custom_zones("astring-de.internal", linked, RELAY_IP, with_fallback(*peers))["any.internal.server"]

    golden("fallback-one-peer", fallback([TO_MN]))
    golden("fallback-two-peers", fallback([TO_MN, TO_US]))
    assert fallback([TO_MN, TO_US], "us", "mn") == fallback([TO_US, TO_MN])
    assert fallback([TO_MN, TO_US], "mn") == fallback([TO_MN])
    # One that is not linked yet is left out, and the own cluster is asked in any case.
    assert fallback([TO_MN], "us", "mn") == fallback([TO_MN])
    assert fallback([]).count("forward . 127.0.0.1:5300 {") == 1


def test_relay() -> None:
    golden("relay-one-peer", relay(MN))
    golden("relay-two-peers", relay(US, MN))


def test_relay_does_not_depend_on_the_order_of_peers() -> None:
    assert relay(US, MN) == relay(MN, US)


def test_what_is_of_the_process_stands_once() -> None:
    for plugin in ("health ", "ready ", "prometheus ", "reload\n"):
        assert relay(MN, US).count(f"    {plugin}") == 1


@pytest.mark.parametrize("peers", [[], [PeerZone("astring-mn.internal", ())]])
def test_no_relay_without_peers(peers: list[PeerZone]) -> None:
    with pytest.raises(ValueError, match=r"^a DNS relay needs peers with routers$"):
        relay(*peers)


def test_front() -> None:
    golden("front", front_corefile([US.zone, MN.zone], [IPv4Address("10.0.1.31"), IPv4Address("10.0.1.32")]))


@pytest.mark.parametrize(("zones", "relays"), [([], ["10.0.1.31", "10.0.1.32"]), (["mn.internal"], ["10.0.1.31"])])
def test_no_front_without_a_choice(zones: list[str], relays: list[str]) -> None:
    with pytest.raises(ValueError, match="several relays"):
        front_corefile(zones, [IPv4Address(address) for address in relays])


def test_a_dead_relay_on_either_side_costs_less_than_the_clusters_coredns_waits() -> None:
    """It waits 2 s, and what is left has to be enough for a round trip."""
    assert FRONT_WAIT_MS < 1000
    assert RELAY_WAIT_MS + 300 < FRONT_WAIT_MS
    assert FRONT_WAIT_MS + RELAY_WAIT_MS + 300 < 2000
