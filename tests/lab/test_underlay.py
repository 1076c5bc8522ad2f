"""Which packets the watch on the lab's wires leaves alone: a pod's to a node of its own cluster, and no others."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lab.topology import DEFAULT
from tests.link.underlay import of_one_cluster

RANGES = [site.ranges for site in DEFAULT.sites]


@pytest.mark.parametrize(
    ("source", "destination", "left_alone"),
    [
        pytest.param("10.42.0.243", "10.0.1.11", True, id="a pod to its own node"),
        pytest.param("10.0.1.11", "10.42.0.243", False, id="a node to its own pod"),
        pytest.param("10.42.0.243", "192.168.7.11", False, id="a pod to a node of the peer"),
        pytest.param("10.42.0.243", "10.52.0.5", False, id="a pod to a pod of the peer"),
        pytest.param("10.42.0.243", "10.42.1.5", False, id="a pod to a pod"),
        pytest.param("10.43.0.10", "10.0.1.11", False, id="a service to a node"),
    ],
)
def test_which_packets_are_left_alone(source: str, destination: str, left_alone: bool) -> None:
    assert of_one_cluster(RANGES, IPv4Address(source), IPv4Address(destination)) is left_alone
