"""Port 6443 of a server of several, where k3s answers for itself and for the API in one.

k3s shows its certificates there (/cacerts) to anybody, before its API serves; kube-apiserver, which is a process of its
own here, can't. So the first bytes of a connection say who is meant: a client of Kubernetes speaks HTTP/2 or names the
server by a name, and what asks for certificates does neither (join-k3s: curl, wget or Python, by an address). The first
is passed on byte by byte, the other answered here: what it asks with a token is passed on as well, since programs that
Kubernetes has given one may reach it by an address and speak HTTP/1.1 (the keeper does); who asks for anything else
gets what k3s says without a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

from lab.standins.k3s.certificates import KeyPair
from lab.standins.k3s.forwarder import passed_on
from lab.standins.k3s.layout import API_PORT, INTERNAL_API_PORT

_HEAD_SECONDS = 10.0
_LOOK_SECONDS = 0.01


class Front:
    """Listens until it is closed."""

    def __init__(self, authority: Path, pair: KeyPair) -> None:
        self._certificates = authority.read_bytes()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._api = ssl.create_default_context(cafile=str(authority))
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None

    def listen(self, host: str = "0.0.0.0", port: int = API_PORT) -> None:
        """Take connections from now on."""
        listening = socket.create_server((host, port), backlog=512)
        listening.setblocking(False)
        self._listening = listening
        self._begin(self._accept(listening))

    def close(self) -> None:
        """End, with every connection."""
        if self._listening is not None:
            self._listening.close()
        for task in self._tasks:
            task.cancel()

    def _begin(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                # accept(2): a client that is gone already, or no descriptor free just now; the next one may do.
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                self._begin(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError, ValueError):
            try:
                hello = await asyncio.wait_for(_first_record(connection), _HEAD_SECONDS)
                if speaks_to_kubernetes(hello):
                    reader, writer = await asyncio.open_connection(sock=connection)
                    await passed_on(reader, writer, ("127.0.0.1", INTERNAL_API_PORT))
                else:
                    head, reader, writer = await asyncio.wait_for(self._asked(connection), _HEAD_SECONDS)
                    if b"\r\nauthorization: bearer " in head.lower():
                        await passed_on(reader, writer, ("127.0.0.1", INTERNAL_API_PORT), head=head, tls=self._api)
                    else:
                        await asyncio.wait_for(self._answer(head, writer), _HEAD_SECONDS)
            finally:
                connection.close()

    async def _asked(self, connection: socket.socket) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """The first lines of a request, and what is left of its connection."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._context)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return await reader.readuntil(b"\r\n\r\n"), reader, writer

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET /cacerts "):
            status, body = "200 OK", self._certificates
        elif head.startswith(b"GET /ping "):
            status, body = "200 OK", b"pong"
        else:
            status, body = "401 Unauthorized", b"Unauthorized\n"
        answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(answer.encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _first_record(connection: socket.socket) -> bytes:
    """The first TLS record, left where it is: whoever serves the connection reads it again."""
    connection.setblocking(False)
    while True:
        with contextlib.suppress(BlockingIOError):
            seen = connection.recv(5 + 0xFFFF, socket.MSG_PEEK)
            if not seen:
                raise ValueError("hung up")
            if len(seen) >= 5 and len(seen) >= 5 + int.from_bytes(seen[3:5], "big"):
                return seen
        await asyncio.sleep(_LOOK_SECONDS)


def speaks_to_kubernetes(record: bytes) -> bool:
    """Whether a ClientHello (RFC 8446, 4.1.2) names a server or offers HTTP/2."""
    if record[0] != 22 or record[5] != 1:
        raise ValueError("no ClientHello")
    at = 5 + 4 + 2 + 32  # both heads, version, random
    at += 1 + record[at]  # session
    at += 2 + int.from_bytes(record[at : at + 2], "big")  # ciphers
    at += 1 + record[at]  # compressions
    end = at + 2 + int.from_bytes(record[at : at + 2], "big")
    at += 2
    while at < min(end, len(record)):
        kind, size = int.from_bytes(record[at : at + 2], "big"), int.from_bytes(record[at + 2 : at + 4], "big")
        content = record[at + 4 : at + 4 + size]
        if kind == 0 or (kind == 16 and b"\x02h2" in content):
            return True
        at += 4 + size
    return False
