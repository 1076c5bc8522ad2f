"""Which packets the watch on the lab's wires leaves alone: a pod's to a node of its own cluster, its questions to the
machines' name server, and no others.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from lab.machine_files import RESOLVER
from lab.topology import DEFAULT
from tests.link.underlay import ICMP, TCP, UDP, of_name_server, of_one_cluster, ports_of

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


def frame(source: str, destination: str, protocol: int, port: int, options: int = 0) -> bytes:
    """An Ethernet frame as the watch reads it, with so many bytes of options in its IPv4 header."""
    header = bytes([0x45 + options // 4]) + bytes(8) + bytes([protocol]) + bytes(2)
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    return bytes(12) + b"\x08\x00" + header + addresses + bytes(options) + struct.pack("!HH", 40000, port)


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "port", "left_alone"),
    [
        pytest.param("10.42.1.20", str(RESOLVER), UDP, 53, True, id="a pod asks the name server"),
        pytest.param(str(RESOLVER), "10.42.1.20", ICMP, 0, True, id="its host says that nothing listens"),
        pytest.param("10.42.1.20", str(RESOLVER), UDP, 3478, False, id="a pod asks that host for something else"),
        pytest.param("10.42.1.20", str(RESOLVER), TCP, 53, False, id="by TCP"),
        pytest.param(str(RESOLVER), "10.42.1.20", UDP, 53, False, id="that host sends a pod something else"),
        pytest.param("10.42.1.20", "10.52.0.10", UDP, 53, False, id="a pod asks a pod of the peer"),
        pytest.param("10.43.0.10", str(RESOLVER), UDP, 53, False, id="a service asks the name server"),
        pytest.param("10.42.1.20", "198.51.100.30", UDP, 53, False, id="a pod asks another host"),
    ],
)
def test_questions_to_the_name_server_are_left_alone(
    source: str, destination: str, protocol: int, port: int, left_alone: bool
) -> None:
    assert of_name_server(RANGES, frame(source, destination, protocol, port)) is left_alone


@pytest.mark.parametrize("options", [0, 4, 40])
def test_ports_stand_behind_the_options(options: int) -> None:
    assert ports_of(frame("10.42.1.20", str(RESOLVER), UDP, 53, options)) == (40000, 53)
