"""The process: its loops, its sockets, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from keeper import http_face
from keeper.config import Config, ConfigFile
from keeper.conversation import BEAT_SECONDS, Conversation, Self
from keeper.http_face import Answer
from keeper.wire import Wire

CONFIG_SECONDS: Final = 2.0
SAID_AGAIN_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Place:
    """Where it runs: its node, the siblings' key, the port of its HTTP face."""

    node: str
    key: bytes
    http_port: int = http_face.PORT


class Keeper:
    """One process on one router node."""

    def __init__(self, place: Place, file: ConfigFile, config: Config) -> None:
        self._place, self._file = place, file
        self._talk = Conversation(
            config,
            node=place.node,
            key=place.key,
            boot=secrets.token_hex(8),
            to_sibling=self._to_sibling,
            to_router=self._to_router,
        )
        self._sibling_wire: Wire | None = None
        self._draining = False
        self._said: dict[str, tuple[str, float]] = {}

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; returns the exit code."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        server = await http_face.serve(self._routes(), port=self._place.http_port)
        tasks = [
            asyncio.create_task(self._every(BEAT_SECONDS, self._beat)),
            asyncio.create_task(self._every(CONFIG_SECONDS, self._read_config)),
        ]
        stopped = asyncio.create_task(stop.wait())
        # A loop that ends has failed: then the process ends as well, and the kubelet starts it anew.
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *tasks):
            task.cancel()
        server.close()
        if self._sibling_wire:
            self._sibling_wire.close()
        for task in done - {stopped}:
            task.result()
        return 0

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """Acts in rounds. A round that comes late does not bring the next one nearer."""
        while True:
            await act()
            await asyncio.sleep(seconds)

    # --- siblings -----------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        self._open_sibling_wire()
        self._talk.myself = Self(ok=True, draining=self._draining)
        self._talk.beat()

    def _open_sibling_wire(self) -> None:
        """The own node's address is that of keeper.json; a node that is not in it has nothing to say yet."""
        config = self._talk.config
        address = config.routers.get(self._place.node)
        wire = self._sibling_wire
        if wire is not None and (wire.address, wire.port) != (address, config.port):
            wire.close()
            self._sibling_wire = None
        if self._sibling_wire is None and address is not None:
            try:
                self._sibling_wire = Wire(
                    address, config.port, heard=self._from_sibling, refused=self._talk.refused_by_sibling
                )
            except OSError as error:
                self._say("wire", f"UDP {address}:{config.port}: {error}")

    def _to_sibling(self, data: bytes, address: str, port: int) -> None:
        if self._sibling_wire:
            self._sibling_wire.send(data, address, port)

    def _to_router(self, data: bytes, address: str, port: int) -> None:
        del data, address, port

    def _from_sibling(self, data: bytes, address: str) -> None:
        self._talk.from_sibling(data, address, time.monotonic())

    # --- configuration ------------------------------------------------------------------------------------------------

    async def _read_config(self) -> None:
        if (config := self._file.changed()) is not None:
            self._talk.take(config)
            self._say("config", f"keeper.json is read anew: {len(config.routers)} routers, {len(config.peers)} peers")
        elif self._file.problem:
            self._say("config", f"keeper.json stays as it was read before: {self._file.problem}")

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def _routes(self) -> dict[tuple[str, str], http_face.Route]:
        return {
            ("GET", "/healthz"): lambda: Answer(HTTPStatus.OK, "ok\n"),
            ("GET", "/readyz"): self._readiness,
            ("GET", "/status"): lambda: http_face.as_json(self._status()),
            ("POST", "/drain"): lambda: self._drain(True),
            ("POST", "/undrain"): lambda: self._drain(False),
        }

    def _readiness(self) -> Answer:
        if self._sibling_wire is None:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._place.node} is no router in keeper.json\n")
        return Answer(HTTPStatus.OK, "ready\n")

    def _drain(self, draining: bool) -> Answer:
        self._draining = draining
        self._talk.myself = Self(ok=True, draining=draining)
        self._talk.beat_at_once()
        return Answer(HTTPStatus.OK, "draining\n" if draining else "not draining\n")

    def _status(self) -> dict[str, Any]:
        config = self._talk.config
        return {
            "cluster": config.cluster,
            "node": self._place.node,
            "draining": self._draining,
            "siblings": {name: {"state": hearing.state} for name, hearing in self._talk.siblings.items()},
            "peers": {},
        }

    def _say(self, about: str, text: str) -> None:
        """To the log, once, and again every minute while it stays so."""
        now = time.monotonic()
        said, at = self._said.get(about, ("", 0.0))
        if text != said or now - at > SAID_AGAIN_SECONDS:
            self._said[about] = (text, now)
            with contextlib.suppress(OSError):
                sys.stdout.write(f"keeper: {text}\n")
                sys.stdout.flush()
