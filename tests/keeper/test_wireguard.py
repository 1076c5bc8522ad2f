"""WireGuard's text protocol against a server that speaks it, and the kernel's as the kernel has it in its header."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keeper import wireguard
from keeper.netlink import attribute, attribute_list, attributes
from keeper.wireguard import AgentSilent, WireGuardPeer, give, kernel_request, look, parse_kernel

A, B = bytes(range(32)), bytes(range(32, 64))


class Userspace:
    """The socket of a userspace WireGuard (https://www.wireguard.com/xplatform/): what it has, and what was asked."""

    def __init__(self) -> None:
        self.peers: dict[bytes, set[str]] = {A: {"100.92.0.8/32", "10.52.0.0/16"}, B: {"100.92.0.9/32"}}
        self.silent = False
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            text = (await reader.readuntil(b"\n\n")).decode()
            self.asked.append(text)
            if self.silent:
                await asyncio.sleep(5)
            writer.write((self._get() if text.startswith("get=1") else self._set(text)).encode())
            await writer.drain()
        except OSError:
            pass  # The keeper has given up.
        finally:
            writer.close()

    def _get(self) -> str:
        lines = ["private_key=" + "0" * 64, "listen_port=51820", "fwmark=113920"]
        for key, allowed in self.peers.items():
            lines += [f"public_key={key.hex()}", "preshared_key=" + "0" * 64, "protocol_version=1"]
            lines += [f"endpoint={'192.0.2.7:51820' if key == A else '127.0.0.1:40123'}"]
            lines += ["last_handshake_time_sec=1764426000", "last_handshake_time_nsec=0", "tx_bytes=5", "rx_bytes=7"]
            lines += ["persistent_keepalive_interval=25", *(f"allowed_ip={range_}" for range_ in sorted(allowed))]
        return "\n".join([*lines, "errno=0", "", ""])

    def _set(self, text: str) -> str:
        key: bytes | None = None
        update_only = False
        for line in text.strip().splitlines()[1:]:
            name, _, value = line.partition("=")
            if name == "public_key":
                key = bytes.fromhex(value)
            elif name == "update_only":
                update_only = value == "true"
            elif name == "allowed_ip" and key is not None:
                if key not in self.peers:
                    if update_only:
                        continue
                    self.peers[key] = set()
                for others in self.peers.values():
                    others.discard(value)
                self.peers[key].add(value)
            else:
                return "errno=-22\n\n"
        return "errno=0\n\n"


@asynccontextmanager
async def serving(path: Path, userspace: Userspace) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(userspace.serve, path / "wt0.sock")
    async with server:
        yield


Run = Callable[[Userspace, Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(look, "__defaults__", (tmp_path,))
    monkeypatch.setattr(give, "__defaults__", (tmp_path,))

    def start(userspace: Userspace, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving(tmp_path, userspace):
                await test()

        asyncio.run(served())

    return start


def test_the_device_is_read(run: Run) -> None:
    async def test() -> None:
        assert await look("wt0") == (
            WireGuardPeer(A, frozenset({"100.92.0.8/32", "10.52.0.0/16"}), "192.0.2.7", 7),
            WireGuardPeer(B, frozenset({"100.92.0.9/32"}), "127.0.0.1", 7),
        )
        direct, relayed = await look("wt0") or ()
        assert (direct.relayed, relayed.relayed) == (False, True)

    run(Userspace(), test)


def test_ranges_are_given_to_another_and_the_rest_stays(run: Run) -> None:
    userspace = Userspace()

    async def test() -> None:
        await give("wt0", WireGuardPeer(B, frozenset(), "", 0), ("10.52.0.0/16",))

    run(userspace, test)
    assert userspace.peers == {A: {"100.92.0.8/32"}, B: {"100.92.0.9/32", "10.52.0.0/16"}}
    assert userspace.asked == [f"set=1\npublic_key={B.hex()}\nupdate_only=true\nallowed_ip=10.52.0.0/16\n\n"]


def test_a_peer_that_the_device_has_not_is_not_made(run: Run) -> None:
    userspace = Userspace()
    before = {key: set(allowed) for key, allowed in userspace.peers.items()}

    async def test() -> None:
        await give("wt0", WireGuardPeer(bytes(32), frozenset(), "", 0), ("10.52.0.0/16",))

    run(userspace, test)
    assert userspace.peers == before


def test_what_the_device_refuses_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    userspace = Userspace()
    monkeypatch.setattr(userspace, "_set", lambda _: "errno=-22\n\n")

    async def test() -> None:
        with pytest.raises(OSError, match="errno=-22"):
            await give("wt0", WireGuardPeer(B, frozenset(), "", 0), ("10.52.0.0/16",))

    run(userspace, test)


def test_an_agent_that_does_not_answer_is_told_from_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wireguard, "PATIENCE_SECONDS", 0.05)
    userspace = Userspace()
    userspace.silent = True

    async def test() -> None:
        with pytest.raises(AgentSilent, match=r"wt0\.sock"):
            await look("wt0")
        # Neither a socket nor a device of the kernel's.
        assert await look("wt9") is None

    run(userspace, test)


def test_a_socket_that_a_dead_agent_has_left_is_none(run: Run, tmp_path: Path) -> None:
    async def leave() -> None:
        pass

    run(Userspace(), leave)
    assert (tmp_path / "wt0.sock").exists()
    assert asyncio.run(look("wt0")) is None


def test_the_kernels_answer_is_read() -> None:
    """Layout of linux/wireguard.h; a peer of many ranges comes in two parts."""

    def range_(address: bytes, length: int) -> bytes:
        return attribute(0, attribute(1, struct.pack("=H", 2)) + attribute(2, address) + attribute(3, bytes([length])))

    endpoint = struct.pack("=H", 2) + struct.pack("!H", 51820) + bytes([192, 0, 2, 7]) + bytes(8)
    first = attribute(
        0,
        attribute(1, A)
        + attribute(4, endpoint)
        + attribute(6, bytes(16))
        + attribute(7, struct.pack("=Q", 9))
        + attribute(9 | 0x8000, range_(bytes([100, 92, 0, 8]), 32)),
    )
    second = attribute(0, attribute(1, A) + attribute(9 | 0x8000, range_(bytes([10, 52, 0, 0]), 16)))
    answers = [
        struct.pack("=BBH", 0, 1, 0) + attribute(2, b"wt0\0") + attribute(8 | 0x8000, part) for part in (first, second)
    ]
    assert parse_kernel(answers) == (WireGuardPeer(A, frozenset({"100.92.0.8/32", "10.52.0.0/16"}), "192.0.2.7", 9),)


def test_the_request_to_the_kernel_updates_one_peer_and_replaces_nothing() -> None:
    request = kernel_request("wt0", B, ("10.52.0.0/16",))
    assert request[:4] == struct.pack("=BBH", 1, 1, 0)
    device = attributes(request[4:])
    assert device[2] == b"wt0\0"
    ((_, peer),) = attribute_list(device[8])
    known = attributes(peer)
    assert (known[1], known[3]) == (B, struct.pack("=I", 4))
    ((_, allowed),) = attribute_list(known[9])
    assert attributes(allowed) == {1: struct.pack("=H", 2), 2: bytes([10, 52, 0, 0]), 3: bytes([16])}
