"""The client of Hetzner's API: the end of what it has begun, and what a refusal says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.hetzner_client import HetznerClient, HetznerError
from lab.standins.hetzner_api.backend import MachineRequest, MemoryBackend
from tests.lab.hetzner_api.conftest import TOKEN, StandIn


class Slow(MemoryBackend):
    """Machines that are made, started and destroyed only while ``may`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    def create(self, machine: MachineRequest) -> None:
        self.may.wait()
        super().create(machine)

    def start(self, name: str) -> None:
        self.may.wait()
        super().start(name)

    def destroy(self, name: str) -> None:
        self.may.wait()
        super().destroy(name)


@pytest.fixture
def hetzner(tmp_path: Path) -> Iterator[StandIn]:
    """Hetzner with nothing in it."""
    standin = StandIn(tmp_path, MemoryBackend())
    yield standin
    standin.stop()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("delete", "servers/{id} is still there after its deletion"),
        ("act", "the action poweron of servers/{id} has not ended"),
    ],
)
def test_what_takes_too_long_is_named_and_the_next_time_it_goes_through(tmp_path: Path, kind: str, said: str) -> None:
    """The machine that makes the server, or starts it, takes its time."""
    machines = Slow()
    slow = StandIn(tmp_path / "slow", machines)
    try:
        body = {"name": "de-agent-1", "server_type": "cx23", "image": "debian-12", "start_after_create": False}
        id_ = slow.call("POST", "/servers", body).json()["server"]["id"]
        client = HetznerClient(TOKEN, slow.endpoint, sleep=lambda _: time.sleep(0.02), deadline_seconds=0.2)
        patient = HetznerClient(TOKEN, slow.endpoint, sleep=lambda _: time.sleep(0.02), deadline_seconds=20.0)

        def ask(asking: HetznerClient) -> None:
            if kind == "delete":
                asking.delete("servers", id_)
            else:
                asking.act(f"/servers/{id_}/actions/poweron", {})

        def unlocked() -> None:
            end = time.monotonic() + 20
            while slow.call("GET", f"/servers/{id_}").json()["server"]["locked"]:
                assert time.monotonic() < end
                time.sleep(0.02)

        if kind == "act":
            machines.may.set()
            unlocked()
            machines.may.clear()
        with pytest.raises(HetznerError) as refusal:
            ask(client)
        assert str(refusal.value) == (
            f"Hetzner: {said.format(id=id_)} within 0 s; the next `pulumi up` goes on from there"
        )
        machines.may.set()
        if kind == "act":
            unlocked()
        ask(patient)
    finally:
        machines.may.set()
        slow.stop()


def test_refusal_carries_the_apis_words_and_no_token(hetzner: StandIn) -> None:
    with pytest.raises(HetznerError) as refusal:
        HetznerClient("short", hetzner.endpoint).by_name("servers", "x")
    assert str(refusal.value).startswith("Hetzner API: GET /servers?name=x: 401: ")
    assert "short" not in str(refusal.value)
