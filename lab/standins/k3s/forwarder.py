"""The API on 127.0.0.1:6444 of every node: bytes passed on to a server that lives.

k3s's own load balancer, on agents: it knows the server that the node joined, learns all others from the endpoints of
default/kubernetes, and keeps them in a file for the next start (https://docs.k3s.io/architecture). Connections to a
server that does not answer any more are closed, so that their clients come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Sequence
from pathlib import Path

from lab.standins.k3s.api import SERVER_NAME
from lab.standins.k3s.files import write_file
from lab.standins.k3s.journal import log
from lab.standins.k3s.layout import API_PORT, FORWARDER_PORT

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 2.0
PROBES_FAILED = 2
"""So many in a row, and a server counts as gone until it answers again."""

Address = tuple[str, int]


async def passed_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: Address,
    *,
    head: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> bool:
    """Pass a connection on until either side ends it; False when the target takes none. ``head`` was read of it
    already; with ``tls`` the target is spoken to by TLS, and has the API server's name.
    """

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()
            else:  # TLS has no half of a connection.
                sink.close()
        except OSError:
            sink.close()

    try:
        opening = asyncio.open_connection(*target, ssl=tls, server_hostname=None if tls is None else SERVER_NAME)
        far_reader, far_writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
    except OSError:
        return False
    try:
        far_writer.write(head)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
    finally:
        writer.close()
        far_writer.close()
    return True


class Balancer:
    """Servers in the order in which they are tried; ``file`` keeps them over restarts, where there is one."""

    def __init__(self, joined: Address, file: Path | None = None) -> None:
        self._joined = joined
        self._file = file
        self._servers = [joined, *(server for server in self._kept() if server != joined)]
        self._failed: dict[Address, int] = {}
        self._connections: dict[asyncio.Task[None], Address] = {}
        self._probing: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    async def serve(self, port: int = FORWARDER_PORT) -> None:
        """Listen on 127.0.0.1."""
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", port)
        if self._file is not None:
            self._probing = asyncio.create_task(self._probe())

    def close(self) -> None:
        """Take no more connections."""
        if self._probing is not None:
            self._probing.cancel()
        if self._server is not None:
            self._server.close()

    @property
    def servers(self) -> tuple[Address, ...]:
        """As they are tried: those that answer first."""
        return tuple(sorted(self._servers, key=self._gone))

    def learn(self, addresses: Sequence[str]) -> None:
        """All servers that the cluster has now."""
        found: list[Address] = [(address, API_PORT) for address in addresses]
        if found and set(found) != set(self._servers):
            self._servers = [server for server in self._servers if server in found] + [
                server for server in found if server not in self._servers
            ]
            log(f"API servers: {', '.join(f'{host}:{port}' for host, port in self._servers)}")
        if found and self._file is not None:
            kept = {
                "ServerURL": f"https://{self._joined[0]}:{self._joined[1]}",
                "ServerAddresses": [f"{host}:{port}" for host, port in found],
            }
            write_file(self._file, json.dumps(kept) + "\n")

    def _kept(self) -> list[Address]:
        """Of the last time; as in k3s not where the node was given another server since."""
        if self._file is None or not self._file.exists():
            return []
        with contextlib.suppress(ValueError, KeyError, TypeError):
            kept = json.loads(self._file.read_text())
            if kept["ServerURL"] == f"https://{self._joined[0]}:{self._joined[1]}":
                return [
                    (host, int(port))
                    for host, _, port in (address.rpartition(":") for address in kept["ServerAddresses"])
                ]
        return []

    def _gone(self, server: Address) -> bool:
        return self._failed.get(server, 0) >= PROBES_FAILED

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            for server in self.servers:
                self._connections[task] = server
                if await passed_on(reader, writer, server):
                    return
                self._failed[server] = PROBES_FAILED
        finally:
            self._connections.pop(task, None)
            writer.close()

    async def _probe(self) -> None:
        while True:
            servers = list(self._servers)
            answers = await asyncio.gather(*(_answers(server) for server in servers))
            for server, there in zip(servers, answers, strict=True):
                before = self._gone(server)
                self._failed[server] = 0 if there else self._failed.get(server, 0) + 1
                if self._gone(server) and not before:
                    log(f"API server {server[0]}:{server[1]} does not answer any more")
                    for task in [connection for connection, target in self._connections.items() if target == server]:
                        task.cancel()
            await asyncio.sleep(PROBE_SECONDS)


async def _answers(server: Address) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*server), PROBE_SECONDS)
    except OSError:
        return False
    writer.close()
    return True
