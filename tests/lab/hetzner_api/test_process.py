"""The stand-in as it is run: a process with arguments, a log and signals."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hcloud

TOKEN = "p" * 64
DEADLINE_SECONDS = 20
REPOSITORY = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the stand-in until the block ends; returns when it listens."""
    command = [sys.executable, "-m", "lab.standins.hetzner_api", "--backend", "memory", "--action-seconds", "0.01"]
    command += ["--listen", f"127.0.0.1:{port}", "--state", str(directory / "state")]
    command += ["--token-file", str(directory / "token"), "--faults", str(directory / "faults.json")]
    with (directory / "log").open("ab") as log:
        running = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                said = (directory / "log").read_text()
                assert running.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.05)
        yield running
    finally:
        running.kill()
        running.wait()


def test_it_keeps_everything_over_its_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    port = free_port()
    client = hcloud.Client(token=TOKEN, api_endpoint=f"http://127.0.0.1:{port}/v1", poll_interval=0.05)
    with process(tmp_path, port) as running:
        client.placement_groups.create(name="first", type="spread")
        running.send_signal(signal.SIGTERM)
        assert running.wait(DEADLINE_SECONDS) == 0
    with process(tmp_path, port) as running:
        client.placement_groups.create(name="second", type="spread")
        running.send_signal(signal.SIGKILL)
        running.wait(DEADLINE_SECONDS)
    with process(tmp_path, port):
        assert [group.name for group in client.placement_groups.get_all()] == ["first", "second"]
    log = (tmp_path / "log").read_text()
    assert "POST /v1/placement_groups 201" in log
    assert TOKEN not in log


def test_a_token_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")
    command = [sys.executable, "-m", "lab.standins.hetzner_api", "--listen", "127.0.0.1:1", "--state", str(tmp_path)]
    done = subprocess.run(
        [*command, "--token-file", str(tmp_path / "token")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "a token has 64 characters" in done.stderr
    assert "short" not in done.stderr


def test_help_names_every_option() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab.standins.hetzner_api", "--help"], cwd=REPOSITORY, capture_output=True, text=True
    )
    for option in ("--listen", "--state", "--token-file", "--backend", "--faults", "--action-seconds"):
        assert option in done.stdout
