"""What may come from other resources: given as an Output it reaches the inputs of what a component makes, which are
then what they are with the plain value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest

from components import (
    Cilium,
    CiliumArgs,
    ClusterDns,
    ClusterDnsArgs,
    DnsRelay,
    DnsRelayArgs,
    EgressGateway,
    EgressGatewayArgs,
    Guard,
    GuardArgs,
    HetznerMachines,
    HetznerMachinesArgs,
    HetznerServer,
    Keeper,
    KeeperArgs,
    NetbirdOperator,
    NetbirdOperatorArgs,
    NetbirdRouter,
    NetbirdRouterArgs,
    OnPremiseMachine,
    OnPremiseMachines,
    OnPremiseMachinesArgs,
    Waiting,
)
from components.engine import MOCKS
from components.hetzner_leftovers import StackInstance
from components.netbird_api import NetbirdClaim
from components.netbird_router import host_network_transform
from domain.link import parse_link
from domain.netbird import Agent, network_router
from tests.components.recording import LINKS, Run, run
from tests.components.test_face import all_components

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
        "mn", given("0.8.1"), given("https://nb.example.net"), given("agent:1"), given("nbp_token"),
        given("https://charts.example.net"), None, False,
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


def cilium(given: Callable[[Any], Any]) -> None:
    values = {"ipam": given({"mode": "kubernetes"}), "k8s": {"host": given("10.0.1.11")}}
    args = CiliumArgs(given("1.19.7"), values, given("https://charts.example.net/"), None, waiting(), [])
    Cilium("it", args)


def keeper(given: Callable[[Any], Any]) -> None:
    config = {"version": 1, "routers": given({"mn-2": "192.168.7.12"})}
    api = (given("10.0.1.11"), given(6444))
    Keeper("it", KeeperArgs(given("python:3"), config, b"PK", [given("isthmus-to-de")], api, given("agents"), []))


def router(given: Callable[[Any], Any]) -> None:
    args = NetbirdRouterArgs(
        cluster="mn", pod_cidr=given(IPv4Network("10.52.0.0/16")), service_cidr=given("10.53.0.0/16"), nodes=["mn-2"],
        management_url=given("https://nb.example.net"), agent_image=given("agent:1"), wireguard_port=given(51900),
        mtu=given(1420), agent_env={"NB_RELAY_TRANSPORT": given("ws")}, api_token=given("nbp_token"),
        operator=StackInstance("operator"), waiting=waiting(), engine=MOCKS,
    )  # fmt: skip
    NetbirdRouter("it", args)


def gateway(given: Callable[[Any], Any]) -> None:
    claim = NetbirdClaim("claim", cluster="mn", instance="0" * 32)
    args = EgressGatewayArgs(
        cluster="mn", claim=claim, link=parse_link(LINKS["de"], "de"), routers=["mn-2"],
        own_peers=given({"mn-2": "100.92.0.8"}), router=[given(claim)], guards=given(claim), waiting=waiting(),
        management_url=given("https://nb.example.net"), api_token=given("nbp_token"),
    )  # fmt: skip
    EgressGateway("it", args)


def machines(given: Callable[[Any], Any]) -> None:
    """Two servers, so that there is a permission for the first."""
    two = [
        OnPremiseMachine(f"mn-{number}", "server", given(address), given("ssh-ed25519 AAAA"), given(b"tar"))
        for number, address in enumerate((IPv4Address("192.168.7.11"), "192.168.7.12"), 1)
    ]
    args = OnPremiseMachinesArgs("mn", False, two, given("admin"), given(2222), given("ssh-private"), engine=MOCKS)
    OnPremiseMachines("it", args)


MAKERS = {
    "Guard": guard,
    "ClusterDns": dns,
    "DnsRelay": relay,
    "NetbirdOperator": operator,
    "HetznerMachines": hetzner,
    "Cilium": cilium,
    "Keeper": keeper,
    "NetbirdRouter": router,
    "EgressGateway": gateway,
    "OnPremiseMachines": machines,
}
KNOWN = {"JoinedCluster": "its settings say what there is", "NodeLabels": "each Node is a resource called after it"}
"""Components that take no such values, and why."""
WANTED = {
    "Guard": ("10.60.0.0/16 10.61.0.0/16", "10.52.0.0/16", "10.53.0.0/16", "guard:1", "51900"),
    "ClusterDns": ("office:53 {}",),
    "DnsRelay": (".:1053 {}", ".:53 {}", "relay:1", "agent:1", "10.53.0.53"),
    "NetbirdOperator": (
        "https://nb.example.net",
        "agent:1",
        "https://charts.example.net/netbird-operator-0.8.1.tgz",
    ),
    "Cilium": ("10.0.1.11", "kubernetes", "https://charts.example.net/cilium-1.19.7.tgz"),
    "Keeper": ("python:3", "192.168.7.12", "10.0.1.11", "6444", "isthmus-to-de", "agents"),
    "NetbirdRouter": ("10.52.0.0/16", "10.53.0.0/16", "agent:1"),
    "EgressGateway": ("100.92.0.8",),
    "OnPremiseMachines": ("192.168.7.11", "192.168.7.12", "ssh-ed25519 AAAA", "2222", "admin", "sudo -n sh -c", "dGFy"),
    "HetznerMachines": (
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
    inputs = {
        registration.urn: re.sub(r"\b1\d\d(\.0)?\b|198\.51\.100\.\d+", "N", registration.raw)
        for registration in found.registrations
    }
    assert len(inputs) == len(found.registrations)
    return inputs


@pytest.mark.parametrize("component", MAKERS)
def test_a_value_of_another_resource_reaches_the_inputs(component: str) -> None:
    found = made(component, lambda value: later(value).apply(lambda known: known))
    plain = made(component, lambda value: value)
    assert len(found.registrations) > 1
    assert inputs_of(found) == inputs_of(plain)
    # Secrets as well: all of a connection is one.
    given = " ".join(str(registration.inputs) for registration in found.registrations)
    assert [value for value in WANTED[component] if value not in given] == []


def test_every_component_takes_them_or_says_why_not() -> None:
    assert MAKERS.keys() | KNOWN.keys() == all_components().keys()
    assert not MAKERS.keys() & KNOWN.keys()


def test_the_agents_environment_takes_them_too() -> None:
    """Which the engine alone puts into the router: the mocks run no transform."""
    manifest = network_router("mn", "agent:1", 1)
    args = cast("pulumi.ResourceTransformArgs", SimpleNamespace(type_=":NetworkRouter", props=manifest, opts=None))
    entries: list[dict[str, str]] = []

    async def body() -> None:
        agent = Agent(later(51900).apply(str), later(1420).apply(str), {"NB_RELAY_TRANSPORT": later("ws")})
        given = host_network_transform("mn", agent, ["mn-2"])(args)
        assert isinstance(given, pulumi.ResourceTransformResult)
        props: Any = await pulumi.Output.from_input(dict(given.props)).future()
        (container,) = props["spec"]["workloadOverride"]["podTemplate"]["spec"]["containers"]
        entries.extend(container["env"])

    run(body, stack="office", config={}, preview=False)
    values = {entry["name"]: entry.get("value") for entry in entries}
    assert (values["NB_WIREGUARD_PORT"], values["NB_MTU"], values["NB_RELAY_TRANSPORT"]) == ("51900", "1420", "ws")
