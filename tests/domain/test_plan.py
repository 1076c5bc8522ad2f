from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.mtu import MtuChain
from domain.nodes import Node, Order
from domain.plan import AddressPlan
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, plan_of


def ordered(group: str) -> Order:
    return Order(f"hetzner.{group}", "fsn1", "debian-12")


def test_de() -> None:
    assert plan_of("de", DE) == AddressPlan(
        cluster="de",
        nodes=(
            Node("de-server-1", "server", False, IPv4Address("10.0.1.11"), "cx23", order=ordered("control_plane")),
            Node("de-agent-1", "agent", True, IPv4Address("10.0.1.31"), "cx23", order=ordered("workers")),
        ),
        pod_cidr=IPv4Network("10.42.0.0/16"),
        service_cidr=IPv4Network("10.43.0.0/16"),
        node_cidr=IPv4Network("10.0.1.0/24"),
        dns_zone="astring-de.internal",
        cluster_dns=IPv4Address("10.43.0.10"),
        mtu=MtuChain(netbird=1280, cilium=1280),
    )


def test_mn() -> None:
    assert plan_of("mn", MN).nodes == (
        Node("mn-1", "server", False, IPv4Address("192.168.7.11"), None, HOST_KEYS[0]),
        Node("mn-2", "agent", True, IPv4Address("192.168.7.12"), None, HOST_KEYS[1]),
    )


def test_given_cluster() -> None:
    plan = plan_of("mn", GIVEN)
    assert [node.name for node in plan.routers] == ["worker-b"]
    assert plan.servers == ()


def test_fixed_addresses() -> None:
    plan = plan_of("de", DE)
    assert str(plan.kubernetes_service) == "10.43.0.1"
    assert str(plan.relay_service_ip) == "10.43.0.53"
    assert str(plan_of("de", DE, {"network.cluster_dns": "10.43.0.11"}).cluster_dns) == "10.43.0.11"


def test_servers_come_first() -> None:
    machines = [
        {"name": "b", "address": "192.168.7.2", "role": "agent", "router": True, "host_key": HOST_KEYS[0]},
        {"name": "a", "address": "192.168.7.1", "role": "server", "host_key": HOST_KEYS[0]},
    ]
    plan = plan_of("mn", MN, {"on_premise.machines": machines})
    assert [node.name for node in plan.nodes] == ["a", "b"]
    assert [node.name for node in plan.servers] == ["a"]
    assert [node.labels for node in plan.nodes] == [{}, {"isthmus.dev/router": "true"}]


def test_router_without_workers() -> None:
    plan = plan_of("de", DE, {"hetzner.workers.count": 0, "hetzner.control_plane.count": 3})
    assert [(node.name, node.router) for node in plan.nodes] == [
        ("de-server-1", True),
        ("de-server-2", False),
        ("de-server-3", False),
    ]


@settings(max_examples=30)
@given(st.sampled_from([1, 3, 5]), st.integers(1, 4), st.sampled_from(["10.0.1.0/24", "10.0.1.64/26", "10.0.0.0/16"]))
def test_more_servers_move_nothing_and_fit(servers: int, workers: int, node_cidr: str) -> None:
    def nodes(of_servers: int, of_workers: int) -> dict[str, Node]:
        changes = {
            "hetzner.control_plane.count": of_servers,
            "hetzner.workers.count": of_workers,
            "network.node_cidr": node_cidr,
        }
        plan = plan_of("de", DE, changes)
        assert all(plan.node_cidr[1] < node.address < plan.node_cidr[-1] for node in plan.nodes)
        assert len({node.address for node in plan.nodes}) == len(plan.nodes) == of_servers + of_workers
        assert len(plan.routers) == 1
        return {node.name: node for node in plan.nodes}

    before = nodes(servers, workers)
    assert {name: nodes(5, 5)[name] for name in before} == before


@pytest.mark.parametrize(
    ("netbird", "cilium", "pod", "fits"),
    [(1280, 1280, 1230, True), (1280, 1320, 1270, True), (1280, 1321, 1271, False), (1420, 1450, 1400, True)],
)
def test_mtu(netbird: int, cilium: int, pod: int, fits: bool) -> None:
    chain = MtuChain(netbird=netbird, cilium=cilium)
    assert (chain.pod, chain.fits) == (pod, fits)
