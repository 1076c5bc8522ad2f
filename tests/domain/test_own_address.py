"""Somebody whose own address the firewall would not let in is told so, if it is one that a server sees."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from domain.places.hetzner.sources import shut_out

ALLOWED, ELSEWHERE = [IPv4Network("198.41.0.0/24"), IPv4Network("8.8.8.0/24")], [IPv4Network("9.9.9.9/32")]


@pytest.mark.parametrize(
    ("own", "api", "ssh", "not_in"),
    [
        ("8.8.8.8", ALLOWED, ALLOWED, None),
        ("8.8.8.8", [IPv4Network("0.0.0.0/0")], ALLOWED, None),
        ("8.8.9.8", ALLOWED, ALLOWED, "hetzner.api_allowed_cidrs and not in hetzner.ssh_allowed_cidrs"),
        ("8.8.8.8", ELSEWHERE, ALLOWED, "hetzner.api_allowed_cidrs"),
        ("8.8.8.8", ALLOWED, ELSEWHERE, "hetzner.ssh_allowed_cidrs"),
        ("192.168.7.5", ELSEWHERE, ELSEWHERE, None),
        ("100.72.1.1", ELSEWHERE, ELSEWHERE, None),
        ("127.0.0.1", ELSEWHERE, ELSEWHERE, None),
    ],
)
def test_shut_out(own: str, api: list[IPv4Network], ssh: list[IPv4Network], not_in: str | None) -> None:
    message = (
        f"de: this machine goes out as {own}, which is not in {not_in}; "
        "`pulumi up` from here would not reach the servers"
    )
    assert shut_out("de", IPv4Address(own), api, ssh) == (None if not_in is None else message)
