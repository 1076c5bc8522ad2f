"""What runs in a pod's network for `./isthmus benchmark failover`: it answers others, and asks others, all the while.

It is sent to the machine as text and needs Python's standard library only. Orders come as a JSON object a line on
stdin, and it ends with stdin; times are those of CLOCK_MONOTONIC, which all machines of the lab share.

    {"start": {FLOW: ADDRESS, ...}}     asks these from now on, besides those that it asks already
    {"stop": true}                      asks nobody any more
    {"answers": {"FLOW KIND": [time, ...]}, "events": [["FLOW KIND", time, text], ...], "now": time}
                                        on stdout, five times a second: what came since the last time

Events are connections that were not made ("tcp", after PATIENCE seconds at the latest) or broke ("kept").

Kinds: "udp", a packet and its echo, always by the same ports; "tcp", a connection that is made and closed; "kept", a
message and its echo on a connection that is made anew only when it breaks. Each is sent every EVERY seconds.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from typing import Any

EVERY = 0.05
TELL_EVERY = 0.2
LISTEN, ASK = (int(os.environ.get(name, "5411")) for name in ("PROBER_LISTEN", "PROBER_ASK"))
"""Ports of the own echo and of that of others; the same, but for who tries two on one machine."""
PATIENCE = 20.0
"""Of a new connection: longer than a gap that is worth measuring to the second."""
CONNECT_AGAIN = 0.2


class Echo(asyncio.DatagramProtocol):
    """Sends every packet back."""

    def connection_made(self, transport: Any) -> None:
        """Keeps what it answers by."""
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        """The packet goes back to where it came from."""
        self.transport.sendto(data, address)


class Listener(asyncio.DatagramProtocol):
    """Notes when an echo comes. What the kernel says of an unreachable host is no answer."""

    def __init__(self, note: Any) -> None:
        self.note = note

    def datagram_received(self, data: bytes, address: Any) -> None:
        """An echo came."""
        self.note()

    def error_received(self, error: Exception) -> None:
        """No answer."""


class Prober:
    """All flows of a pod."""

    def __init__(self) -> None:
        self.answers: dict[str, list[float]] = {}
        self.events: list[tuple[str, float, str]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def noted(self, key: str) -> None:
        """An answer came."""
        self.answers.setdefault(key, []).append(time.monotonic())

    def failed(self, key: str, error: Exception) -> None:
        """A connection was not made, or broke."""
        self.events.append((key, time.monotonic(), getattr(error, "strerror", "") or type(error).__name__))

    def start(self, flow: str, address: str) -> None:
        """Asks an address in every kind."""
        for asking in (self.udp, self.tcp, self.kept):
            self.keep(asking(f"{flow} {asking.__name__}", address))

    def keep(self, work: Any) -> None:
        """A task that goes on until it ends or all are stopped."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def stop(self) -> None:
        """Asks nobody any more."""
        for task in self.tasks:
            task.cancel()

    async def udp(self, key: str, address: str) -> None:
        """Packets from one port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Listener(lambda: self.noted(key)), local_addr=("0.0.0.0", 0)
        )
        try:
            while True:
                transport.sendto(b"isthmus", (address, ASK))
                await asyncio.sleep(EVERY)
        finally:
            transport.close()

    async def tcp(self, key: str, address: str) -> None:
        """New connections; the next one does not wait for the one before."""
        while True:
            self.keep(self.connect(key, address))
            await asyncio.sleep(EVERY)

    async def connect(self, key: str, address: str) -> None:
        """One connection."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, ASK), PATIENCE)
        except (OSError, TimeoutError) as error:
            self.failed(key, error)
            return
        self.noted(key)
        writer.close()

    async def kept(self, key: str, address: str) -> None:
        """Messages on a connection that stays, as long as it does."""
        while True:
            writer = None
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection(address, ASK), PATIENCE)
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                listening = asyncio.create_task(self.listen(key, reader))
                try:
                    while not listening.done():
                        writer.write(b"isthmus\n")
                        await asyncio.sleep(EVERY)
                    await listening
                finally:
                    listening.cancel()
            except (OSError, TimeoutError) as error:
                self.failed(key, error)
                await asyncio.sleep(CONNECT_AGAIN)
            finally:
                if writer is not None:
                    writer.transport.abort()

    async def listen(self, key: str, reader: asyncio.StreamReader) -> None:
        """Notes each echoed message; the end of the connection is an error."""
        while await reader.readline():
            self.noted(key)
        raise ConnectionResetError(0, "closed by the other side")

    def told(self) -> str:
        """What came since the last time, as a line."""
        told = {"answers": self.answers, "events": self.events, "now": time.monotonic()}
        self.answers, self.events = {}, []
        return json.dumps(told)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echoes what comes on a connection until it ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(4096):
            writer.write(data)
    writer.close()


async def main() -> None:
    """Works until stdin ends."""
    loop = asyncio.get_running_loop()
    # A connection that was reset while it waited is nobody's fault here.
    loop.set_exception_handler(lambda _loop, _context: None)
    await loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", LISTEN))
    await asyncio.start_server(answer, "0.0.0.0", LISTEN, backlog=1024, reuse_address=True)
    prober = Prober()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    async def tell() -> None:
        while True:
            print(prober.told(), flush=True)
            await asyncio.sleep(TELL_EVERY)

    telling = asyncio.create_task(tell())
    while line := await orders.readline():
        order = json.loads(line)
        for flow, address in order.get("start", {}).items():
            prober.start(flow, address)
        if order.get("stop"):
            prober.stop()
    prober.stop()
    telling.cancel()


if __name__ == "__main__":
    asyncio.run(main())
