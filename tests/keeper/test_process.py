"""The process as it is run, from a zip file: two keepers on the loopback of a network of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.keeper_program import program as delivered
from tests.engine.api_server import free_port

DEADLINE_SECONDS = 40
"""A guard. The longest wait is 5 s where nothing else runs: for a sibling that was never heard to be dead."""

pytestmark = [pytest.mark.link, pytest.mark.timeout(240), pytest.mark.usefixtures("own_network")]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As it is delivered: one file, with nothing else to import but the standard library."""
    path = tmp_path_factory.mktemp("program") / "keeper.pyz"
    path.write_bytes(delivered())
    return path


class Pair:
    """Two keepers, mn-1 and mn-2, at 127.0.0.2 and 127.0.0.3."""

    def __init__(self, program: Path, directory: Path) -> None:
        self._program, self._directory, self.port = program, directory, free_port()
        (directory / "key").write_text("0123456789abcdef")
        self.write({"mn-1": "127.0.0.2", "mn-2": "127.0.0.3"})
        self.ports = {"mn-1": free_port(), "mn-2": free_port()}
        self.running: dict[str, subprocess.Popen[str]] = {}

    def write(self, routers: dict[str, str], **more: object) -> None:
        config = {
            "cluster": "mn",
            "port": self.port,
            "routers": routers,
            "pod_cidr": "10.52.0.0/16",
            "peers": {},
            **more,
        }
        new = self._directory / "new"
        new.write_text(json.dumps(config))
        new.rename(self._directory / "keeper.json")

    def start(self, node: str) -> None:
        self.running[node] = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-W", "error", str(self._program)),
                *("--config", str(self._directory / "keeper.json"), "--key", str(self._directory / "key")),
                *("--http-port", str(self.ports[node])),
            ],
            env={"NODE_NAME": node, "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, node: str, path: str, method: str = "GET", at: str = "127.0.0.1") -> tuple[int, str]:
        request = urllib.request.Request(f"http://{at}:{self.ports[node]}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def status(self, node: str) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.ask(node, "/status")[1])
        return status

    def state(self, node: str, of: str) -> str:
        return str(self.status(node)["siblings"].get(of, {}).get("state"))

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
            process.communicate()


def until(what: Callable[[], bool]) -> float:
    """Waits until it is so; returns how long that took, in seconds."""
    start = time.monotonic()
    while time.monotonic() - start < DEADLINE_SECONDS:
        try:
            if what():
                return time.monotonic() - start
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("not so within the deadline")


@pytest.fixture
def pair(program: Path, tmp_path: Path, own_network: None) -> Iterator[Pair]:
    pair = Pair(program, tmp_path)
    try:
        pair.start("mn-1")
        pair.start("mn-2")
        until(lambda: pair.state("mn-1", "mn-2") == "alive" and pair.state("mn-2", "mn-1") == "alive")
        yield pair
    finally:
        pair.stop()


def test_a_stopped_process_is_dead_after_a_second_and_alive_again_at_its_first_word(pair: Pair) -> None:
    """Stopped: its port is open and nobody answers, as on a machine that is switched off."""
    process = pair.running["mn-2"]
    process.send_signal(signal.SIGSTOP)
    took = until(lambda: pair.state("mn-1", "mn-2") == "dead")
    # 1.6 s in rounds of 0.2 s, each of which is later on a busy machine.
    assert 0.7 < took < 8
    process.send_signal(signal.SIGCONT)
    until(lambda: pair.state("mn-1", "mn-2") == "alive")
    # It has slept, and does not think that others were dead meanwhile.
    assert pair.state("mn-2", "mn-1") == "alive"


def test_a_keeper_that_ends_is_away_since_its_node_still_answers(pair: Pair) -> None:
    process = pair.running["mn-2"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=DEADLINE_SECONDS) == 0
    until(lambda: pair.state("mn-1", "mn-2") == "away")
    pair.start("mn-2")
    until(lambda: pair.state("mn-1", "mn-2") == "alive")


def test_a_changed_file_brings_a_sibling_and_takes_one_away(pair: Pair) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.4", pair.port))
        pair.write({"mn-1": "127.0.0.2", "mn-2": "127.0.0.3", "mn-3": "127.0.0.4"})
        until(lambda: pair.state("mn-1", "mn-3") == "dead")
    pair.write({"mn-1": "127.0.0.2"})
    until(lambda: pair.status("mn-1")["siblings"] == {})
    until(lambda: pair.ask("mn-2", "/readyz") == (503, "mn-2 is no router in keeper.json\n"))
    assert pair.ask("mn-2", "/healthz") == (200, "ok\n")


def a_tunnel() -> None:
    """As NetBird leaves a node, and Cilium; in order for both, who live in one network here."""
    subprocess.run(
        [
            "sh",
            "-ec",
            (
                "ip link add cilium_host type veth peer name cilium_net;"
                "ip link add wt0 type veth peer name far; ip link set far up; ip addr add 100.92.0.7/16 dev wt0;"
                "ip link set wt0 up; ip rule add priority 105 lookup main suppress_prefixlength 0;"
                "ip rule add priority 110 not fwmark 0x1bd00 lookup 7120; echo 1 >/proc/sys/net/ipv4/ip_forward"
            ),
        ],
        check=True,
    )


def test_what_is_put_right_at_once_nobody_else_hears_of(pair: Pair) -> None:
    a_tunnel()
    until(lambda: pair.status("mn-1")["ok"] is True and pair.status("mn-2")["ok"] is True)
    for change, what in (
        ("echo 0 >/proc/sys/net/ipv4/ip_forward", "forwarding"),
        ("ip link set wt0 down", "interface"),
        ("ip rule del priority 110", "ip rules"),
    ):
        subprocess.run(["sh", "-ec", change], check=True)
        # Both live in this network, so either may be the one that does it.
        until(lambda what=what: any(pair.status(node)["mended"].get(what) for node in ("mn-1", "mn-2")))  # type: ignore[misc]
        # The other one may have mended it, and this one looked just before.
        until(lambda: pair.status("mn-1")["ok"] is True)
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    pair.running["mn-1"].terminate()
    log, _ = pair.running["mn-1"].communicate(timeout=DEADLINE_SECONDS)
    assert log.count("keeper: this node is in order") == 1
    assert log.count("not in order") == 1  # Before there was a wt0.


def test_metrics_are_given_at_the_nodes_address_where_that_is_wanted(pair: Pair) -> None:
    routers = {"mn-1": "127.0.0.2", "mn-2": "127.0.0.3"}

    def given() -> bool:
        try:
            return pair.ask("mn-1", "/metrics", at="127.0.0.2")[0] == 200
        except urllib.error.URLError:
            return False

    assert not given()
    pair.write(routers, metrics=True)
    until(given)
    assert "isthmus_keeper_node_in_order" in pair.ask("mn-1", "/metrics", at="127.0.0.2")[1]
    assert pair.ask("mn-1", "/healthz", at="127.0.0.2") == (200, "ok\n")
    for path, method in (("/drain", "POST"), ("/undrain", "POST"), ("/status", "GET"), ("/readyz", "GET")):
        assert pair.ask("mn-1", path, method, at="127.0.0.2")[0] == 404
    assert pair.ask("mn-1", "/readyz")[0] == 200
    pair.write(routers)
    until(lambda: not given())
    assert pair.ask("mn-1", "/metrics")[0] == 200


def test_the_http_face_says_what_there_is(pair: Pair) -> None:
    assert pair.ask("mn-1", "/readyz") == (200, "ready\n")
    assert pair.ask("mn-1", "/drain") == (405, "/drain takes POST\n")
    code, text = pair.ask("mn-1", "/nothing")
    assert (code, text.startswith("there is no /nothing; there is /")) == (404, True)
    assert pair.ask("mn-1", "/drain", "POST") == (409, "no other router of this cluster is in order\n")
    assert pair.status("mn-1")["draining"] is False
    a_tunnel()
    until(lambda: pair.ask("mn-1", "/drain", "POST") == (200, "draining\n"))
    assert pair.status("mn-1")["draining"] is True
    # One of two is left, and has nobody behind it.
    until(lambda: pair.ask("mn-2", "/drain", "POST")[0] == 409)
    assert pair.ask("mn-1", "/undrain", "POST") == (200, "not draining\n")
    assert pair.status("mn-1")["draining"] is False


@pytest.mark.parametrize(
    ("environment", "key", "reason"),
    [
        ({}, "0123456789abcdef", "NODE_NAME is not set"),
        ({"NODE_NAME": "mn-1"}, "short", "the key has 5 bytes; at least 16 are needed"),
    ],
)
def test_what_it_can_not_start_without_is_named(
    program: Path, tmp_path: Path, environment: dict[str, str], key: str, reason: str
) -> None:
    (tmp_path / "key").write_text(key)
    config = {"cluster": "mn", "port": 51999, "routers": {}, "pod_cidr": "10.52.0.0/16"}
    (tmp_path / "keeper.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, str(program), "--config", str(tmp_path / "keeper.json"), "--key", str(tmp_path / "key")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert (done.returncode, reason in done.stderr) == (2, True)
