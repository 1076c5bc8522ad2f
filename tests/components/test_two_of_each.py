"""Two of each component in one program: no two resources are the same to the engine, and what Kubernetes calls them is
what it always called them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

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
    JoinedCluster,
    JoinedClusterArgs,
    Keeper,
    KeeperArgs,
    NetbirdOperator,
    NetbirdOperatorArgs,
    NetbirdRouter,
    NetbirdRouterArgs,
    NodeLabels,
    NodeLabelsArgs,
    OnPremiseMachine,
    OnPremiseMachines,
    OnPremiseMachinesArgs,
    PeerLink,
    Secrets,
    Waiting,
)
from components.engine import MOCKS
from components.hetzner_leftovers import StackInstance
from components.netbird_api import NetbirdClaim
from domain.link import parse_link
from domain.nodes import Node
from tests.components.recording import LINKS, NETBIRD_TOKEN, run
from tests.components.test_face import all_components
from tests.domain.samples import CLUSTER_SECRET, MN, SSH_PRIVATE_KEY, settings_of

PODS, SERVICES = IPv4Network("10.52.0.0/16"), IPv4Network("10.53.0.0/16")
IMAGE = "netbirdio/netbird:0.77.1"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd2gTWYGdEwEzvYjHAyO3XX9Cj4Z3wbqGPcBJ1HMGx7"


def waiting() -> Waiting:
    return Waiting("office", pulumi.Output.from_input(""), None, active=False)


def cilium(name: str, cluster: str) -> None:
    Cilium(name, CiliumArgs("1.19.6", {"ipam": {"mode": "kubernetes"}}, None, None, waiting(), after=[]))


def cluster_dns(name: str, cluster: str) -> None:
    ClusterDns(name, ClusterDnsArgs(zones={"office.server": "office:53 {\n}\n"}, others=None, after=[]))


def dns_relay(name: str, cluster: str) -> None:
    args = DnsRelayArgs(".:53 {\n}\n", ".:53 {\n}\n", IMAGE, IMAGE, IPv4Address("10.53.0.53"), waiting(), after=[])
    DnsRelay(name, args)


def egress_gateway(name: str, cluster: str) -> None:
    """Of two clusters: in the account of NetBird a cluster has one policy of a kind to a peer."""
    claim = NetbirdClaim(f"claim-of-{name}", cluster=cluster, instance="0" * 32)
    args = EgressGatewayArgs(
        cluster=cluster,
        claim=claim,
        link=parse_link(LINKS["de"], "de"),
        routers=["worker-b"],
        own_peers=pulumi.Output.from_input({"worker-b": "100.92.0.8"}),
        router=[claim],
        guards=claim,
        waiting=waiting(),
        management_url="https://nb.example.net",
        api_token=pulumi.Output.secret(NETBIRD_TOKEN),
        keeper_port=51823,
    )
    EgressGateway(name, args)


def guard(name: str, cluster: str) -> None:
    Guard(name, GuardArgs([IPv4Network("10.60.0.0/16")], PODS, SERVICES, IMAGE, after=[]))


def hetzner_machines(name: str, cluster: str) -> None:
    """Of two clusters: at Hetzner a name is given once."""
    servers = [
        HetznerServer(
            f"{cluster}-{number}", "server", "cx23", IPv4Address(f"10.0.1.{number}"), "#cloud-config", HOST_KEY
        )
        for number in (11, 12, 13)
    ]
    args = HetznerMachinesArgs(
        cluster=cluster,
        begun=False,
        location="nbg1",
        network_zone="eu-central",
        network_cidr=IPv4Network("10.0.0.0/16"),
        node_cidr=IPv4Network("10.0.1.0/24"),
        image="debian-12",
        servers=servers,
        api_allowed_cidrs=[],
        ssh_allowed_cidrs=[],
        wireguard_port=51820,
        ssh_public_key=HOST_KEY,
        ssh_private_key="of the tests",
        labels={},
        delete_protection=False,
        leftovers=None,
    )
    HetznerMachines(name, args)


def joined_cluster(name: str, cluster: str) -> None:
    """Of two clusters, each with machines of its own and linked with one and the same."""
    args = JoinedClusterArgs(
        settings=settings_of(cluster, MN),
        secrets=Secrets.of(
            cluster,
            netbird_api_token=NETBIRD_TOKEN,
            cluster_secret=CLUSTER_SECRET,
            of_place={"isthmus:sshPrivateKey": pulumi.Output.from_input(SSH_PRIVATE_KEY)},
        ),
        peers=[PeerLink("de", parse_link(LINKS["de"], "de"), "linked", keeper_port=51823)],
        engine=MOCKS,
    )
    JoinedCluster(name, args)


def keeper(name: str, cluster: str) -> None:
    args = KeeperArgs("python:3.13-slim", {"version": 1}, b"PK", ["isthmus-to-de"], None, "netbird", after=[])
    Keeper(name, args)


def netbird_operator(name: str, cluster: str) -> None:
    args = NetbirdOperatorArgs(
        cluster, "0.8.0", "https://nb.example.net", IMAGE, NETBIRD_TOKEN, None, None, False, waiting(), after=[]
    )
    NetbirdOperator(name, args)


def netbird_router(name: str, cluster: str) -> None:
    """Of two clusters: in the account of NetBird a name is given once, to who claims it first."""
    args = NetbirdRouterArgs(
        cluster=cluster,
        pod_cidr=PODS,
        service_cidr=SERVICES,
        nodes=["worker-b"],
        management_url="https://nb.example.net",
        agent_image=IMAGE,
        wireguard_port=51820,
        mtu=1280,
        agent_env={},
        api_token=pulumi.Output.secret(NETBIRD_TOKEN),
        operator=StackInstance(f"operator-of-{name}"),
        waiting=waiting(),
        engine=MOCKS,
    )
    NetbirdRouter(name, args)


def node_labels(name: str, cluster: str) -> None:
    node = Node(name="worker-b", role="agent", address=IPv4Address("192.168.7.12"), router=True)
    NodeLabels(name, NodeLabelsArgs([node]))


def on_premise_machines(name: str, cluster: str) -> None:
    machines = [
        OnPremiseMachine(f"node-{number}", "server", f"192.168.7.{number}", HOST_KEY, pulumi.Output.from_input(b"tar"))
        for number in (1, 2, 3)
    ]
    args = OnPremiseMachinesArgs(cluster, False, machines, "root", 22, "of the tests", engine=MOCKS)
    OnPremiseMachines(name, args)


MAKERS: dict[str, Callable[[str, str], None]] = {
    "Cilium": cilium,
    "ClusterDns": cluster_dns,
    "DnsRelay": dns_relay,
    "EgressGateway": egress_gateway,
    "Guard": guard,
    "HetznerMachines": hetzner_machines,
    "JoinedCluster": joined_cluster,
    "Keeper": keeper,
    "NetbirdOperator": netbird_operator,
    "NetbirdRouter": netbird_router,
    "NodeLabels": node_labels,
    "OnPremiseMachines": on_premise_machines,
}
OF_TWO_CLUSTERS = ("EgressGateway", "HetznerMachines", "JoinedCluster", "NetbirdRouter")
"""What an account of others knows by the cluster's name, which refuses a second one."""


def test_every_component_is_tried() -> None:
    assert MAKERS.keys() == all_components().keys()


@pytest.mark.parametrize("component", MAKERS)
def test_two_in_one_program(component: str) -> None:
    clusters = ("mn", "worker-b") if component in OF_TWO_CLUSTERS else ("mn", "mn")

    async def body() -> None:
        for name, cluster in zip(("first", "second"), clusters, strict=True):
            MAKERS[component](name, cluster)

    found = run(body, stack="office", config={}, preview=False).registrations
    ours = [registration for registration in found if registration.type.endswith(f":{component}")]
    children = [registration for registration in found if registration.parent in {parent.urn for parent in ours}]
    assert sorted(registration.name for registration in ours) == ["first", "second"]
    assert len(children) >= 2
    assert [urn for urn, count in Counter(registration.urn for registration in found).items() if count > 1] == []


def in_kubernetes(found: list[Any]) -> list[tuple[str, str, str]]:
    return sorted(
        (registration.type, str(metadata.get("namespace", "")), str(metadata["name"]))
        for registration in found
        if registration.type.startswith("kubernetes:")
        and (metadata := registration.inputs.get("metadata") or registration.inputs)
    )


@pytest.mark.parametrize("component", [name for name in MAKERS if name not in OF_TWO_CLUSTERS])
def test_another_name_is_another_resource_and_the_same_object(component: str) -> None:
    """A component may be called anything: what it makes in the cluster is what the program's own makes there."""

    def made(name: str) -> list[Any]:
        async def body() -> None:
            MAKERS[component](name, "mn")

        return run(body, stack="office", config={}, preview=False).registrations

    first, other = made("one"), made("other")
    assert not {item.urn for item in first} & {item.urn for item in other}
    assert in_kubernetes(first) == in_kubernetes(other)
