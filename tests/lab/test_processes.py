"""Helpers of the lab: one that was started and not recorded is known all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab import cgroups, processes, state

SLEEP = ["sleep", "600"]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory, and a control group of helpers that has every child of this process."""
    monkeypatch.setattr(state, "STATE", tmp_path)
    monkeypatch.setattr(cgroups, "wrap", lambda _group, argv: list(argv))
    monkeypatch.setattr(cgroups, "processes", lambda _name="": set(processes.children(os.getpid())))
    yield tmp_path
    for pid in processes.children(os.getpid()):
        found = processes.identity(pid)
        if found is not None and processes.command_line(pid) == SLEEP:
            processes.end(found, deadline_seconds=5)


def executed(started: processes.Identity, argv: Sequence[str]) -> processes.Identity:
    """The process, once it is the program."""
    end = time.monotonic() + 20
    while processes.command_line(started.pid) != argv:
        assert time.monotonic() < end
        time.sleep(0.01)
    return started


def test_one_that_was_started_and_not_recorded_is_ended(directory: Path) -> None:
    """`lab up` was killed in between: it would have the port for ever, and no `lab up` could start another."""
    lost = executed(processes.spawn("mirror", SLEEP), SLEEP)
    (directory / "processes" / "mirror.json").unlink()
    other = executed(processes.spawn("netbird-server", SLEEP), SLEEP)

    again = executed(processes.spawn("mirror", SLEEP), SLEEP)

    assert not lost.alive
    assert again.alive
    assert other.alive
    assert processes.find("mirror") == again


def test_what_a_helper_launches_is_not_taken_for_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for Hetzner's API starts the servers' machines."""
    monkeypatch.setenv("ISTHMUS_LAB_HELPER", "mirror")
    machine = executed(processes.launch(SLEEP, group=cgroups.HELPERS, log=directory / "log"), SLEEP)

    executed(processes.spawn("mirror", SLEEP), SLEEP)

    assert machine.alive


class Ended(subprocess.Popen[bytes]):
    """A child of which another thread learns at the same moment that it has ended."""

    def poll(self) -> int:
        processes._children.pop(self.pid, None)
        return self.wait()


def test_two_threads_may_find_that_one_has_ended() -> None:
    child = Ended(["true"])
    identity = processes.Identity(pid=child.pid, start_time=1)
    processes._children[child.pid] = child
    assert not identity.alive
    assert child.pid not in processes._children


def test_a_helper_outlives_the_process_that_has_started_it_without_a_word(directory: Path) -> None:
    script = (
        "import subprocess, sys; from lab import processes; "
        f"child = subprocess.Popen({SLEEP!r}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "processes._children[child.pid] = child; print(child.pid)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    helper = processes.identity(int(done.stdout))
    assert helper is not None, "it ended with the process"
    try:
        assert helper.alive
        assert done.stderr == ""
    finally:
        helper.signal(signal.SIGKILL)
