"""Watches every wire of the lab: no packet to or from a pod or a service may be seen on one outside of a tunnel.

The wires are what machines hang on: the Internet, the sites' LANs with their NAT, the private networks at Hetzner. What
is in a tunnel, NetBird's or Cilium's, has the machines' own addresses outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from lab.machine_files import RESOLVER
from lab.standins.hetzner_api.lab_backend import NETWORK_NAMESPACE_PREFIX
from lab.state import NETNS_DIRECTORY
from lab.topology import PREFIX, WAN_NAMESPACE, Ranges

CLONE_NEWNET: Final = 0x40000000
ETH_P_ALL: Final = 0x0003
SO_ATTACH_FILTER: Final = 26
LOOK_SECONDS: Final = 0.1
"""How often namespaces that are new are looked for."""


def frames_of(ranges: Iterable[IPv4Network]) -> list[tuple[int, int, int, int]]:
    """A classic BPF program that keeps IPv4 frames with an outer source or destination in one of the ranges."""
    tests = [(offset, network) for offset in (26, 30) for network in ranges]
    program = [(0x28, 0, 0, 12), (0x15, 0, 3 * len(tests), 0x0800)]
    for number, (offset, network) in enumerate(tests):
        left = len(tests) - number - 1
        program += [
            (0x20, 0, 0, offset),
            (0x54, 0, 0, int(network.netmask)),
            (0x15, 3 * left + 1, 0, int(network.network_address)),
        ]
    return [*program, (0x06, 0, 0, 0), (0x06, 0, 0, 96)]


def of_one_cluster(ranges: Iterable[Ranges], source: IPv4Address, destination: IPv4Address) -> bool:
    """Whether a pod sends to a node of its own cluster.

    No link carries such a packet. One was seen on Hetzner's private network while a cluster was destroyed; why it was
    not masqueraded was not looked into. A packet to a pod is never such a one.
    """
    return any(source in site.pods and destination in site.nodes for site in ranges)


ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
DNS_PORT: Final = 53


def of_name_server(ranges: Iterable[Ranges], frame: bytes) -> bool:
    """Whether a pod asks the machines' name server out on the Internet, or that host says that nothing listens there.

    No link carries such a packet. Three were seen while a new cluster started: CoreDNS asks as soon as it runs, and
    Cilium had not begun to masquerade on that node. At a NAT they are lost, and asked again.
    """
    source, destination = (IPv4Address(frame[at : at + 4]) for at in (26, 30))
    pods = [site.pods for site in ranges]
    if destination == RESOLVER and any(source in network for network in pods):
        return frame[23] == UDP and ports_of(frame)[1] == DNS_PORT
    return source == RESOLVER and frame[23] == ICMP and any(destination in network for network in pods)


def ports_of(frame: bytes) -> tuple[int, int]:
    """Source and destination port of an Ethernet frame with TCP or UDP over IPv4."""
    start = 14 + (frame[14] & 0x0F) * 4
    source, destination = struct.unpack_from("!HH", frame, start)
    return source, destination


def socket_in(namespace: str, program: Sequence[tuple[int, int, int, int]]) -> socket.socket:
    """A packet socket on all interfaces of a network namespace, present and future."""
    made: list[socket.socket] = []

    def body() -> None:
        library = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(NETNS_DIRECTORY / namespace, os.O_RDONLY)
        try:
            if library.setns(descriptor, CLONE_NEWNET) != 0:
                return
        finally:
            os.close(descriptor)
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        code = b"".join(struct.pack("HBBI", *step) for step in program)
        buffer = ctypes.create_string_buffer(code)
        packets.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer))
        )
        packets.setblocking(False)
        made.append(packets)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if not made:
        raise OSError(f"no packet socket in {namespace}")
    return made[0]


@dataclass
class Underlay:
    """The watch. ``seen`` are the packets that should not have been there, each as a line."""

    clusters: tuple[Ranges, ...]
    seen: list[str] = field(default_factory=list)
    watched: set[str] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def ranges(self) -> list[IPv4Network]:
        """What no packet on a wire may come from or go to."""
        return [network for cluster in self.clusters for network in (cluster.pods, cluster.services)]

    def wires(self) -> set[str]:
        """The namespaces that are there."""
        patterns = (WAN_NAMESPACE, f"{PREFIX}*-nat", f"{NETWORK_NAMESPACE_PREFIX}*")
        return {path.name for pattern in patterns for path in NETNS_DIRECTORY.glob(pattern)}

    def run(self) -> None:
        """Watches until it is told to stop."""
        ranges = self.ranges
        program = frames_of(ranges)
        sockets: dict[tuple[str, int], socket.socket] = {}
        with contextlib.ExitStack() as stack:
            while not self.stopped.is_set():
                for name in self.wires():
                    with contextlib.suppress(OSError):
                        # A name that is used again is another network.
                        key = (name, (NETNS_DIRECTORY / name).stat().st_ino)
                        if key not in sockets:
                            sockets[key] = stack.enter_context(socket_in(name, program))
                            self.watched.add(name)
                readable, _, _ = select.select(list(sockets.values()), [], [], LOOK_SECONDS)
                for (name, _), packets in sockets.items():
                    if packets in readable:
                        self._read(name, packets)

    def _read(self, name: str, packets: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, sender = packets.recvfrom(128)
                source, destination = (IPv4Address(frame[at : at + 4]) for at in (26, 30))
                # What came in before the filter was there.
                if frame[12:14] != b"\x08\x00" or not any(
                    address in network for address in (source, destination) for network in self.ranges
                ):
                    continue
                # On a site's own network only: nothing of it belongs on the Internet.
                if name != WAN_NAMESPACE and of_one_cluster(self.clusters, source, destination):
                    continue
                if of_name_server(self.clusters, frame):
                    continue
                ports = f", ports {'>'.join(map(str, ports_of(frame)))}" if frame[23] in (TCP, UDP) else ""
                self.seen.append(
                    f"{time.strftime('%H:%M:%S')} {name} {sender[0]}: {source} > {destination}, "
                    f"protocol {frame[23]}{ports}"
                )


@contextlib.contextmanager
def watching(clusters: Iterable[Ranges]) -> Iterator[Underlay]:
    """Watches while the block runs."""
    underlay = Underlay(tuple(clusters))
    thread = threading.Thread(target=underlay.run, daemon=True)
    thread.start()
    try:
        yield underlay
    finally:
        underlay.stopped.set()
        thread.join(timeout=10)
