"""Which peer of a WireGuard device has which ranges, and giving them to another: NetBird owns the device, and keeps
what is given here (an agent that restarts, or moves ranges itself, takes it back: so it is looked at in every round).

Userspace WireGuard is asked by the text protocol of https://www.wireguard.com/xplatform/ on a socket, the kernel's by
generic netlink (linux/wireguard.h).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from keeper.netlink import ACK, DUMP, NETLINK_GENERIC, Netlink, attribute, attribute_list, attributes, generic_family

SOCKETS: Final = Path("/var/run/wireguard")
PATIENCE_SECONDS: Final = 0.7
GET_DEVICE, SET_DEVICE = 0, 1
NESTED: Final = 0x8000
UPDATE_ONLY: Final = 4


class AgentSilent(Exception):
    """The agent has its socket open and does not answer: it is stopped, or stuck."""


@dataclass(frozen=True)
class WireGuardPeer:
    """``key`` is the public one, 32 bytes. ``endpoint`` is the address that packets go to, empty without one."""

    key: bytes
    allowed: frozenset[str]
    endpoint: str
    received: int

    @property
    def relayed(self) -> bool:
        """NetBird reaches a relayed peer by a proxy of its own on the loopback."""
        return self.endpoint.startswith("127.")


Device = tuple[WireGuardPeer, ...]


async def look(interface: str, sockets: Path = SOCKETS) -> Device | None:
    """The device's peers. None where nobody can be asked; AgentSilent where somebody should answer and doesn't."""
    if (found := await _ask(sockets / f"{interface}.sock", "get=1\n\n")) is not None:
        return parse_device(found)
    with contextlib.suppress(OSError):
        return _kernel_look(interface)
    return None


async def give(interface: str, peer: WireGuardPeer, ranges: tuple[str, ...], sockets: Path = SOCKETS) -> None:
    """Gives the ranges to the peer; whoever had them loses them. OSError when the device refuses."""
    lines = [f"public_key={peer.key.hex()}", "update_only=true", *(f"allowed_ip={range_}" for range_ in ranges)]
    answer = await _ask(sockets / f"{interface}.sock", "set=1\n" + "\n".join(lines) + "\n\n")
    if answer is None:
        _kernel_give(interface, peer, ranges)
    elif "errno=0" not in answer.split():
        raise OSError(f"WireGuard's socket says {answer.strip()!r}")


def parse_device(text: str) -> Device:
    """The answer to ``get=1``."""
    found: list[WireGuardPeer] = []
    key, allowed, endpoint, received = b"", set[str](), "", 0

    def end() -> None:
        if key:
            found.append(WireGuardPeer(key, frozenset(allowed), endpoint, received))

    for line in text.splitlines():
        name, _, value = line.partition("=")
        match name:
            case "public_key":
                end()
                key, allowed, endpoint, received = bytes.fromhex(value), set(), "", 0
            case "allowed_ip":
                allowed.add(value)
            case "endpoint":
                endpoint = value.rpartition(":")[0].strip("[]")
            case "rx_bytes":
                received = int(value)
            case _:
                pass
    end()
    return tuple(found)


async def _ask(path: Path, text: str) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(text.encode())
                await writer.drain()
                return (await reader.readuntil(b"\n\n")).decode()
            finally:
                writer.close()
    except TimeoutError as error:
        raise AgentSilent(f"no answer by {path}") from error
    except asyncio.IncompleteReadError:
        return None
    except OSError:
        # No socket, or one that a dead agent has left.
        return None


# --- the kernel's -----------------------------------------------------------------------------------------------------


def _family(netlink: Netlink) -> int:
    if (family := generic_family(netlink, "wireguard")) is None:
        raise OSError("the kernel has no WireGuard")
    return family


def _kernel_look(interface: str) -> Device:
    netlink = Netlink(NETLINK_GENERIC)
    try:
        request = struct.pack("=BBH", GET_DEVICE, 1, 0) + attribute(2, interface.encode() + b"\0")
        return parse_kernel(netlink.ask(_family(netlink), request, DUMP))
    finally:
        netlink.close()


def parse_kernel(answers: list[bytes]) -> Device:
    """The parts of WG_CMD_GET_DEVICE's answer; a peer of many ranges may come in several, under the same key."""
    found: dict[bytes, WireGuardPeer] = {}
    for answer in answers:
        for _, content in attribute_list(attributes(answer[4:]).get(8, b"")):
            known = attributes(content)
            allowed = {_kernel_range(attributes(range_)) for _, range_ in attribute_list(known.get(9, b""))} - {""}
            key = known.get(1, b"")
            endpoint = known.get(4, b"")
            address = str(IPv4Address(endpoint[4:8])) if len(endpoint) == 16 else ""
            received = struct.unpack("=Q", known.get(7, bytes(8)))[0]
            if before := found.get(key):
                allowed |= before.allowed
                address = address or before.endpoint
                received = received or before.received
            found[key] = WireGuardPeer(key, frozenset(allowed), address, received)
    return tuple(found.values())


def _kernel_range(known: dict[int, bytes]) -> str:
    address = known.get(2, b"")
    return f"{IPv4Address(address)}/{known[3][0]}" if len(address) == 4 and 3 in known else ""


def kernel_request(interface: str, key: bytes, ranges: tuple[str, ...]) -> bytes:
    """WG_CMD_SET_DEVICE: these ranges to this peer, if it is there."""
    wanted = b""
    for range_ in ranges:
        network = IPv4Network(range_)
        entry = attribute(1, struct.pack("=H", 2)) + attribute(2, network.network_address.packed)
        wanted += attribute(0 | NESTED, entry + attribute(3, bytes([network.prefixlen])))
    peer = attribute(1, key) + attribute(3, struct.pack("=I", UPDATE_ONLY)) + attribute(9 | NESTED, wanted)
    return (
        struct.pack("=BBH", SET_DEVICE, 1, 0)
        + attribute(2, interface.encode() + b"\0")
        + attribute(8 | NESTED, attribute(0 | NESTED, peer))
    )


def _kernel_give(interface: str, peer: WireGuardPeer, ranges: tuple[str, ...]) -> None:
    netlink = Netlink(NETLINK_GENERIC)
    try:
        netlink.tell(_family(netlink), kernel_request(interface, peer.key, ranges), ACK)
    finally:
        netlink.close()
