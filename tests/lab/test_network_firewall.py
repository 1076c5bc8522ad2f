"""The rules of the cloud provider's firewalls: their text, and that nftables takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
from ipaddress import IPv4Address

import pytest

from lab.firewall import FirewallRule, render_firewalls

A, B = IPv4Address("198.51.100.101"), IPv4Address("198.51.100.102")

EVERYTHING = {
    B: (),
    A: (
        FirewallRule(direction="in", protocol="tcp", port="22", source_ips=("203.0.113.9/32", "203.0.113.0/24")),
        FirewallRule(direction="in", protocol="udp", port="any", source_ips=("0.0.0.0/0", "::/0")),
        FirewallRule(direction="in", protocol="icmp", source_ips=("::/0",)),
        FirewallRule(direction="in", protocol="gre", source_ips=("10.1.2.3/8",)),
        FirewallRule(direction="out", protocol="tcp", port="80-85", destination_ips=("0.0.0.0/0",)),
    ),
}


def test_no_firewall_lets_everything_pass() -> None:
    assert render_firewalls({}) == (
        "table ip isthmus_firewalls\n"
        "delete table ip isthmus_firewalls\n"
        "table ip isthmus_firewalls {\n"
        "  chain forward {\n"
        "    type filter hook forward priority 0; policy accept;\n"
        "    ct state established,related accept\n"
        "  }\n"
        "}\n"
    )


def test_every_kind_of_rule() -> None:
    assert render_firewalls(EVERYTHING) == (
        "table ip isthmus_firewalls\n"
        "delete table ip isthmus_firewalls\n"
        "table ip isthmus_firewalls {\n"
        "  chain out_198_51_100_101 {\n"
        "    tcp dport 80-85 return\n"
        "    drop\n"
        "  }\n"
        "  chain in_198_51_100_101 {\n"
        "    ip saddr 203.0.113.0/24 tcp dport 22 return\n"
        "    ip saddr 203.0.113.9/32 tcp dport 22 return\n"
        "    ip protocol udp return\n"
        "    ip saddr 10.0.0.0/8 ip protocol gre return\n"
        "    drop\n"
        "  }\n"
        "  chain in_198_51_100_102 {\n"
        "    drop\n"
        "  }\n"
        "  chain forward {\n"
        "    type filter hook forward priority 0; policy accept;\n"
        "    ct state established,related accept\n"
        "    ip saddr vmap { 198.51.100.101 : jump out_198_51_100_101 }\n"
        "    ip daddr vmap { 198.51.100.101 : jump in_198_51_100_101, 198.51.100.102 : jump in_198_51_100_102 }\n"
        "  }\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"protocol": "sctp"}, "firewall rule with protocol 'sctp'; it must be tcp, udp, icmp, esp or gre"),
        (
            {"protocol": "tcp", "port": "http"},
            "firewall rule with port 'http'; it must be a port, a range such as 80-85, or any",
        ),
        (
            {"protocol": "tcp", "port": "1; drop"},
            "firewall rule with port '1; drop'; it must be a port, a range such as 80-85, or any",
        ),
    ],
)
def test_a_rule_that_means_nothing_is_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is compared
        FirewallRule(direction="in", **fields)  # type: ignore[arg-type]
    assert str(refused.value) == message


@pytest.mark.link
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nftables")
@pytest.mark.parametrize("firewalls", [{}, EVERYTHING])
def test_nftables_takes_the_text_again_and_again(firewalls: dict[IPv4Address, tuple[FirewallRule, ...]]) -> None:
    text = render_firewalls(firewalls)
    result = subprocess.run(
        ["unshare", "--net", "nft", "-f", "-"], input=text + text, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
