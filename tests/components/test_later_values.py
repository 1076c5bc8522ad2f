"""What may come from other resources: given as an Output it reaches the inputs of what a component makes, which are
then what they are with the plain value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pulumi
import pytest

from components import (
    ClusterDns,
    ClusterDnsArgs,
    DnsRelay,
    DnsRelayArgs,
    Guard,
    GuardArgs,
    HetznerMachines,
    HetznerMachinesArgs,
    HetznerServer,
    NetbirdOperator,
    NetbirdOperatorArgs,
    Waiting,
)
from tests.components.recording import Run, run

later = pulumi.Output.from_input


def waiting() -> Waiting:
    return Waiting("office", "", None, active=False)


def guard(given: Callable[[Any], Any]) -> None:
    ranges = [given(IPv4Network("10.60.0.0/16")), given("10.61.0.0/16")]
    args = GuardArgs(
        ranges, given(IPv4Network("10.52.0.0/16")), given("10.53.0.0/16"), given("guard:1"), [], given(51900)
    )
    Guard("it", args)


def dns(given: Callable[[Any], Any]) -> None:
    ClusterDns("it", ClusterDnsArgs({"office.server": given("office:53 {}")}, None, []))


def relay(given: Callable[[Any], Any]) -> None:
    args = DnsRelayArgs(
        given(".:1053 {}"), given(".:53 {}"), given("relay:1"), given("agent:1"), given(IPv4Address("10.53.0.53")),
        waiting(), [],
    )  # fmt: skip
    DnsRelay("it", args)


def operator(given: Callable[[Any], Any]) -> None:
    args = NetbirdOperatorArgs(
        "mn", "0.8.0", given("https://nb.example.net"), given("agent:1"), given("nbp_token"), None, None, False,
        waiting(), [],
    )  # fmt: skip
    NetbirdOperator("it", args)


def hetzner(given: Callable[[Any], Any]) -> None:
    server = HetznerServer(
        "de-1", "server", given("cx23"), given("10.0.1.11"), given("#cloud-config"), given("ssh-key")
    )
    args = HetznerMachinesArgs(
        cluster="de", begun=False, location=given("nbg1"), network_zone=given("eu-central"),
        network_cidr=given("10.0.0.0/16"), node_cidr=given(IPv4Network("10.0.1.0/24")), image=given("debian-12"),
        servers=[server], api_allowed_cidrs=[given(IPv4Network("203.0.113.7/32"))], ssh_allowed_cidrs=[],
        wireguard_port=given(51821), ssh_public_key=given("ssh-public"), ssh_private_key=given("ssh-private"),
        labels={"team": given("net")}, delete_protection=False, leftovers=None,
    )  # fmt: skip
    HetznerMachines("it", args)


MAKERS = {"guard": guard, "dns": dns, "relay": relay, "operator": operator, "hetzner": hetzner}
WANTED = {
    "guard": ("10.60.0.0/16 10.61.0.0/16", "10.52.0.0/16", "10.53.0.0/16", "guard:1", "51900"),
    "dns": ("office:53 {}",),
    "relay": (".:1053 {}", ".:53 {}", "relay:1", "agent:1", "10.53.0.53"),
    "operator": ("https://nb.example.net", "agent:1"),
    "hetzner": (
        "cx23",
        "10.0.1.11",
        "nbg1",
        "eu-central",
        "10.0.0.0/16",
        "10.0.1.0/24",
        "203.0.113.7/32",
        "51821",
        "net",
    ),
}


def made(component: str, given: Callable[[Any], Any]) -> Run:
    async def body() -> None:
        MAKERS[component](given)

    return run(body, stack="office", config={}, preview=False)


def inputs_of(found: Run) -> dict[str, str]:
    """By URN. Ids and addresses are those of the mocks, which count what comes."""
    inputs = {one.urn: re.sub(r"\b1\d\d(\.0)?\b|198\.51\.100\.\d+", "N", one.raw) for one in found.registrations}
    assert len(inputs) == len(found.registrations)
    return inputs


@pytest.mark.parametrize("component", MAKERS)
def test_a_value_of_another_resource_reaches_the_inputs(component: str) -> None:
    found = made(component, lambda value: later(value).apply(lambda known: known))
    plain = made(component, lambda value: value)
    assert len(found.registrations) > 1
    assert inputs_of(found) == inputs_of(plain)
    raw = " ".join(one.raw for one in found.registrations)
    assert [value for value in WANTED[component] if value not in raw] == []
