"""The API on 127.0.0.1:6444 of every node: bytes passed on to the server."""

from __future__ import annotations

import asyncio

from lab.standins.k3s.layout import FORWARDER_PORT


async def serve_forwarder(target: tuple[str, int], port: int = FORWARDER_PORT) -> asyncio.Server:
    """Listen on 127.0.0.1:PORT and pass each connection on to TARGET."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(*target), 10)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", port)
