"""`lab down` leaves nothing, whatever state the lab is in. These tests come last: they take the shared lab down."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lab import cgroups, state

pytestmark = pytest.mark.link

ISTHMUS = Path(__file__).resolve().parents[2] / "isthmus"


def isthmus(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ISTHMUS), *arguments], capture_output=True, text=True, timeout=300)


def foreign_mounts() -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if "isthmus" in line]


def assert_nothing_is_left() -> None:
    assert state.leftovers() == []
    assert foreign_mounts() == []
    assert not state.STATE.exists()
    assert isthmus("lab", "status").returncode != 0


def test_down_removes_a_whole_lab() -> None:
    cgroups.leave()
    done = isthmus("lab", "down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_is_left()


def test_down_again_says_that_there_is_none() -> None:
    done = isthmus("lab", "down")
    assert (done.returncode, done.stdout) == (0, "There is no lab.\n")


@pytest.mark.parametrize(
    "moment",
    [
        "Networks: done",
        pytest.param("On-premise machines ...", marks=pytest.mark.thorough),
        "de-server-1 created",
    ],
)
def test_down_after_a_lab_up_that_was_killed(moment: str) -> None:
    process = subprocess.Popen(
        [str(ISTHMUS), "lab", "up"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    seen = []
    with process.stderr:
        for line in process.stderr:
            seen.append(line)
            if moment in line:
                break
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert moment in seen[-1], "".join(seen[-20:])
    assert state.STATE.exists()
    done = isthmus("lab", "down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_is_left()
