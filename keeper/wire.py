"""A UDP socket that also tells who says that a port is closed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

from keeper.messages import MAXIMUM

IP_RECVERR: Final = 11
"""ip(7); the module socket has no name for it."""
MSG_ERRQUEUE: Final = 0x2000
AT_ONCE: Final = 256
"""Datagrams that are taken before the loop goes on, so that a flood holds nothing else up."""


class Wire:
    """Bound to one own address, and to one interface where that is given: nothing comes in by another."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        heard: Callable[[bytes, str, int], None],
        refused: Callable[[str], None],
        interface: str = "",
    ) -> None:
        self.address, self.port, self.interface = address, port, interface
        self._heard, self._refused = heard, refused
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if interface:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            self._socket.bind((address, port))
            asyncio.get_running_loop().add_reader(self._socket, self._readable)
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes, address: str, port: int) -> None:
        """One datagram. Whether it can go at all shows in the answer that comes or not."""
        # An error that stands in the queue is told by whatever call comes next; that call is then made again.
        for _ in range(2):
            try:
                self._socket.sendto(data, (address, port))
            except OSError:
                continue
            return

    def close(self) -> None:
        """Gives the port back."""
        with contextlib.suppress(OSError, RuntimeError):
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        self._read_errors()
        for _ in range(AT_ONCE):
            try:
                data, (address, port) = self._socket.recvfrom(MAXIMUM + 1)
            except BlockingIOError:
                return
            except OSError:
                continue
            self._heard(data, address, port)

    def _read_errors(self) -> None:
        for _ in range(AT_ONCE):
            try:
                _, ancillary, _, address = self._socket.recvmsg(MAXIMUM, 512, MSG_ERRQUEUE)
            except OSError:
                return
            for level, kind, content in ancillary:
                ours = level == socket.IPPROTO_IP and kind == IP_RECVERR and len(content) >= 4
                # Only a closed port: "unreachable" is what the guard answers when there is no tunnel.
                if ours and struct.unpack_from("=I", content)[0] == errno.ECONNREFUSED:
                    self._refused(address[0])
