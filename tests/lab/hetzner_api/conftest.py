"""The stand-in over real HTTP, in a thread of the test's own process, against machines in memory."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import hcloud
import pytest
import requests
from aiohttp import web

from lab.standins.hetzner_api.api import Access, Api
from lab.standins.hetzner_api.backend import MemoryBackend
from lab.standins.hetzner_api.cloud import FIRST_PUBLIC_ADDRESS, Cloud
from lab.standins.hetzner_api.faults import Faults
from lab.standins.hetzner_api.rate_limit import RateLimit
from lab.standins.hetzner_api.runner import Runner, system_clock
from lab.standins.hetzner_api.storage import Storage

TOKEN = "t" * 64
ACTION_SECONDS = 0.01
START_DEADLINE_SECONDS = 10


class StandIn:
    """One running stand-in. `stop` ends it as a signal would; a new one on the same directory goes on."""

    def __init__(
        self,
        directory: Path,
        backend: Any,
        *,
        action_seconds: float = ACTION_SECONDS,
        requests_per_hour: int = 1_000_000,
        first_public_address: IPv4Address = FIRST_PUBLIC_ADDRESS,
        port: int = 0,
    ) -> None:
        self.directory = directory
        self.backend = backend
        self.token = TOKEN
        self._first_public_address = first_public_address
        self.faults_file = directory / "faults.json"
        self._action_seconds = action_seconds
        self._requests_per_hour = requests_per_hour
        self._wanted_port = port
        self._port: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.port = self._port.result(START_DEADLINE_SECONDS)
        self.endpoint = f"http://127.0.0.1:{self.port}/v1"

    @property
    def client(self) -> Any:
        """The official client, polling quickly, and as long as machines may take, which is more than its own 120 polls.
        Untyped: its models call every field optional.
        """
        return hcloud.Client(
            token=self.token, api_endpoint=self.endpoint, poll_interval=0.01, poll_max_retries=20_000, timeout=60
        )

    @property
    def state(self) -> dict[str, Any]:
        """The stored state as it lies on the disk."""
        data: dict[str, Any] = json.loads((self.directory / "state.json").read_bytes())
        return data

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """A raw request with the right token."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return requests.request(method, self.endpoint + path, json=body, headers=headers, timeout=10, **options)

    def change_token(self, token: str) -> None:
        """The token that was right is revoked, and this one is right from now on."""
        self.token = token
        self._api.access = Access(token)

    def order(self, *faults: dict[str, Any]) -> None:
        """Order faults; the ones before are forgotten."""
        temporary = self.faults_file.with_suffix(".new")
        temporary.write_text(json.dumps({"faults": list(faults)}))
        temporary.replace(self.faults_file)

    def stop(self) -> None:
        """End the stand-in; what runs is cut off."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            # It also ends what hangs by order, and closes the loop.
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:
            if self._port.done():
                raise
            self._port.set_exception(error)

    async def _serve(self) -> None:
        storage = Storage(self.directory)
        runner = Runner(
            Cloud(storage.load(), self._first_public_address),
            self.backend,
            storage,
            Faults(self.faults_file),
            action_seconds=self._action_seconds,
        )
        api = self._api = Api(runner, Access(self.token), RateLimit(self._requests_per_hour, system_clock()))
        app_runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=0.1)
        await app_runner.setup()
        site = web.TCPSite(app_runner, "127.0.0.1", self._wanted_port)
        await site.start()
        self._port.set_result(app_runner.addresses[0][1])
        await self._end.wait()
        await app_runner.cleanup()


StartStandIn = Callable[..., StandIn]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartStandIn]:
    """Start stand-ins on the test's directory; all are stopped at the end."""
    started: list[StandIn] = []

    def start_one(backend: Any = None, **options: Any) -> StandIn:
        stand_in = StandIn(tmp_path / "state", backend or MemoryBackend(), **options)
        started.append(stand_in)
        return stand_in

    yield start_one
    for stand_in in started:
        stand_in.stop()


@pytest.fixture
def api(start: StartStandIn) -> StandIn:
    """A stand-in with nothing in it."""
    return start()


@pytest.fixture
def client(api: StandIn) -> Any:
    return api.client


@pytest.fixture
def public_key() -> str:
    return "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@somewhere"
