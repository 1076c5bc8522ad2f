"""What the kernel is asked and told over netlink: interfaces, addresses, ip rules, routes, names of nftables' chains,
and any generic family. As much as the keeper needs: numbers are those of linux/rtnetlink.h, fib_rules.h, if_link.h,
nfnetlink.h, nf_tables.h and genetlink.h. A call takes microseconds, so it is made in the loop.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
CREATE, EXCLUSIVE = 0x400, 0x200
DONE, ERROR = 3, 2
BATCH_BEGIN, BATCH_END = 16, 17
NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC = 0, 12, 16
NEWLINK, GETLINK, GETADDR = 16, 18, 22
NEWROUTE, GETROUTE, NEWRULE, GETRULE = 24, 26, 32, 34
GET_STRICT_CHECK: Final = 12
SOL_NETLINK: Final = 270
IFF_UP: Final = 1
GETCHAIN: Final = (10 << 8) | 4
CTRL, GETFAMILY = 16, 3
CHANGES: Final = 1 << 0 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 23
"""Multicast groups: links, IPv4 addresses, routes, rules, and forwarding."""
PATIENCE_SECONDS: Final = 1.0

Attributes = dict[int, bytes]


def attribute(kind: int, content: bytes) -> bytes:
    """One attribute, filled up to four bytes."""
    return struct.pack("=HH", len(content) + 4, kind) + content + b"\0" * (-len(content) % 4)


def attribute_list(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, content) of each attribute; kinds without the flags for "nested" and "network order"."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes) -> Attributes:
    """As {kind: content}."""
    return dict(attribute_list(data))


@dataclass(frozen=True)
class Interface:
    """A network interface."""

    index: int
    up: bool


@dataclass(frozen=True)
class Rule:
    """An ip rule. ``raw`` makes it again as it was."""

    priority: int
    table: int
    to: str
    raw: bytes


@dataclass(frozen=True)
class Route:
    """A route of one table. ``raw`` makes it again as it was."""

    to: str
    index: int
    raw: bytes


class Netlink:
    """A socket to one family of the kernel's. OSError with the kernel's number for what it refuses."""

    def __init__(self, family: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, GET_STRICT_CHECK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Ends it."""
        self._socket.close()

    def ask(self, kind: int, payload: bytes, flags: int = DUMP) -> list[bytes]:
        """The contents of the answer: of all objects, or with flags 0 of one."""
        return [content for _, content in self._exchange(kind, payload, REQUEST | flags)]

    def tell(self, kind: int, payload: bytes, flags: int = 0) -> None:
        """A change, which the kernel acknowledges."""
        self._exchange(kind, payload, REQUEST | ACK | flags)

    def tell_all(self, subsystem: int, changes: list[tuple[int, bytes, int]]) -> None:
        """Changes of one of netfilter's subsystems as (kind, payload, flags), at least one: all are made, or none."""
        around = struct.pack("=BB", 0, 0) + struct.pack(">H", subsystem)
        *others, (kind, payload, flags) = changes
        # Refusals come before the one acknowledgement, and one for each of a thousand changes is more than fits.
        last = (kind, payload, flags | ACK)
        batch, first = b"", self._sequence + 1
        for kind, payload, flags in [(BATCH_BEGIN, around, 0), *others, last, (BATCH_END, around, 0)]:
            self._sequence += 1
            content = payload + b"\0" * (-len(payload) % 4)
            batch += struct.pack("=IHHII", 16 + len(content), kind, REQUEST | flags, self._sequence, 0) + content
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(batch) + (1 << 16))
        self._socket.send(batch)
        while True:
            for answered, _, sequence, content in _parts(self._socket.recv(1 << 17)):
                if answered == ERROR and first <= sequence <= self._sequence:
                    _refused(content)
                    return

    def _exchange(self, kind: int, payload: bytes, flags: int) -> list[tuple[int, bytes]]:
        self._sequence += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(payload), kind, flags, self._sequence, 0) + payload)
        found: list[tuple[int, bytes]] = []
        while True:
            for answered, answer_flags, sequence, content in _parts(self._socket.recv(1 << 17)):
                if sequence != self._sequence:
                    continue  # Of an earlier question that took too long.
                if answered == DONE:
                    return found
                if answered == ERROR:
                    _refused(content)
                    return found
                found.append((answered, content))
                if not answer_flags & 0x2:
                    return found


def _refused(content: bytes) -> None:
    (number,) = struct.unpack_from("=i", content)
    if number:
        raise OSError(-number, os.strerror(-number))


def _parts(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, flags, sequence, content) of each message in what came."""
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, at)
        yield kind, flags, sequence, data[at + 16 : at + length]
        at += (max(length, 16) + 3) & ~3


# --- interfaces, rules, routes ----------------------------------------------------------------------------------------


def interface(netlink: Netlink, name: str) -> Interface | None:
    """The interface of this name, None when there is none."""
    request = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(3, name.encode() + b"\0")
    try:
        answer = netlink.ask(GETLINK, request, 0)
    except OSError:
        return None
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", answer[0])
    return Interface(index, bool(flags & IFF_UP))


def set_up(netlink: Netlink, index: int) -> None:
    """``ip link set up``."""
    netlink.tell(NEWLINK, struct.pack("=BxHiII", 0, 0, index, IFF_UP, IFF_UP))


def address_of(netlink: Netlink, index: int) -> str:
    """The first IPv4 address of an interface, empty when it has none."""
    for content in netlink.ask(GETADDR, struct.pack("=BBBBi", socket.AF_INET, 0, 0, 0, index)):
        found = attributes(content[8:])
        if (address := found.get(2, found.get(1))) is not None and struct.unpack_from("=4xi", content)[0] == index:
            return str(IPv4Address(address))
    return ""


def rules(netlink: Netlink) -> list[Rule]:
    """All IPv4 rules, in their order."""
    return [_rule(content) for content in netlink.ask(GETRULE, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8))]


def _rule(content: bytes) -> Rule:
    length, table = struct.unpack_from("=xBxxB", content)
    found = attributes(content[12:])
    if (given := found.get(15)) is not None:
        (table,) = struct.unpack("=I", given)
    priority = struct.unpack("=I", found.get(6, b"\0" * 4))[0]
    to = f"{IPv4Address(found[1])}/{length}" if 1 in found else ""
    return Rule(priority, table, to, content)


def add_rule(netlink: Netlink, raw: bytes) -> None:
    """Makes a rule again. One that is there already is left."""
    _make(netlink, NEWRULE, raw)


def routes(netlink: Netlink, table: int) -> list[Route]:
    """The IPv4 routes of a table."""
    request = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0) + attribute(
        15, struct.pack("=I", table)
    )
    try:
        answers = netlink.ask(GETROUTE, request)
    except OSError:
        return []  # No such table: nothing was ever in it.
    found = []
    for content in answers:
        known = attributes(content[12:])
        to = f"{IPv4Address(known.get(1, bytes(4)))}/{content[1]}"
        found.append(Route(to, struct.unpack("=I", known.get(4, bytes(4)))[0], content))
    return found


def add_route(netlink: Netlink, raw: bytes) -> None:
    """Makes a route again. One that is there already is left."""
    _make(netlink, NEWROUTE, raw)


def _make(netlink: Netlink, kind: int, raw: bytes) -> None:
    with contextlib.suppress(FileExistsError):
        netlink.tell(kind, raw, CREATE | EXCLUSIVE)


def leaves_by(netlink: Netlink, network: str) -> int:
    """Index of the interface that a packet to the first host of the network leaves by; 0 when it goes nowhere."""
    target = IPv4Network(network)
    address = target.network_address + (1 if target.prefixlen < 31 else 0)
    request = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0) + attribute(1, address.packed)
    try:
        (answer, *_) = netlink.ask(GETROUTE, request, 0)
    except OSError:
        return 0
    return int(struct.unpack("=I", attributes(answer[12:]).get(4, bytes(4)))[0])


class Changes:
    """Tells that something about interfaces, addresses, routes, rules or forwarding has changed."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE)
        self._socket.bind((0, CHANGES))

    def fileno(self) -> int:
        """For the loop to wait on."""
        return self._socket.fileno()

    def take(self) -> None:
        """Forgets what has come so far: whoever hears of a change looks himself."""
        for _ in range(1000):
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                continue  # More than the buffer holds: then there were changes.

    def close(self) -> None:
        """Ends it."""
        self._socket.close()


# --- nftables and generic families ------------------------------------------------------------------------------------


def chains(netlink: Netlink) -> set[tuple[str, str]]:
    """(table, chain) of all of nftables' chains, those of iptables-nft included."""
    found = set()
    for content in netlink.ask(GETCHAIN, struct.pack("=BBH", 0, 0, 0)):
        known = attributes(content[4:])
        found.add((_text(known.get(1, b"")), _text(known.get(3, b""))))
    return found


def generic_family(netlink: Netlink, name: str) -> int | None:
    """The number of a generic netlink family, None where the kernel has none of this name."""
    request = struct.pack("=BBH", GETFAMILY, 1, 0) + attribute(2, name.encode() + b"\0")
    try:
        answer = netlink.ask(CTRL, request, 0)
    except OSError:
        return None
    return int(struct.unpack("=H", attributes(answer[0][4:])[1])[0])


def _text(content: bytes) -> str:
    return content.rstrip(b"\0").decode(errors="replace")
