"""Steps: what fails is named, what is slow says so with what it waits for."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from lab import state, steps
from lab.commands import going_on, wait_until, waited_for
from lab.errors import CommandFailed, DeadlinePassed
from lab.reporting import Silent
from lab.steps import StepFailed, Steps, read_timings, slowness
from toolchain import PackageError


class Noting(Silent):
    """A reporter that keeps notes, and knows when there is one."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.noted = threading.Event()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.noted.set()


@pytest.fixture
def reporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noting:
    monkeypatch.setattr(state, "STATE", tmp_path)
    monkeypatch.setattr(steps, "SLOW_AT_LEAST_SECONDS", 0.05)
    monkeypatch.setattr(steps, "SAID_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(steps, "load_per_core", lambda: 3.24)
    return Noting()


def test_a_step_that_fails_is_named_with_its_reason(reporter: Noting) -> None:
    with pytest.raises(StepFailed) as caught, Steps(reporter, "lab up").step("Networks"):
        raise CommandFailed("ip ended with code 2: no such device")
    assert str(caught.value) == "Networks: ip ended with code 2: no such device"
    assert isinstance(caught.value.__cause__, CommandFailed)
    assert read_timings() == [], "a step that failed has no time"


def test_so_is_one_that_fails_in_the_toolchain(reporter: Noting) -> None:
    with (
        pytest.raises(StepFailed, match=r"^Debian packages: apt-get ended with code 100$"),
        Steps(reporter, "lab up").step("Debian packages"),
    ):
        raise PackageError("apt-get ended with code 100")


def test_a_step_within_a_step_is_named_once(reporter: Noting) -> None:
    run = Steps(reporter, "lab up")
    with pytest.raises(StepFailed, match=r"^inner: late$"), run.step("outer"), run.step("inner"):
        raise DeadlinePassed("late")


def test_an_interruption_is_no_failed_step(reporter: Noting) -> None:
    with pytest.raises(KeyboardInterrupt), Steps(reporter, "lab up").step("Networks", usual_seconds=1):
        raise KeyboardInterrupt


def test_a_slow_step_says_what_it_waits_for_and_says_it_again(reporter: Noting) -> None:
    run = Steps(reporter, "lab up")

    def told_twice() -> bool:
        return len(reporter.notes) >= 2

    with run.step("On-premise machines", usual_seconds=0.01):
        wait_until(told_twice, what="machine mn-1 boots", deadline_seconds=30)
    assert reporter.notes[0] == (
        "On-premise machines: 0 s by now, usually 0 s; waits for machine mn-1 boots; this machine is busy "
        "(3.2 processes for each core)"
    )
    assert [step["step"] for step in read_timings()[0]["steps"]] == ["On-premise machines"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("slowness of")]


def test_a_step_as_quick_as_ever_says_nothing(reporter: Noting) -> None:
    with Steps(reporter, "lab up").step("Networks", usual_seconds=60):
        assert not reporter.noted.wait(0.2)
    assert reporter.notes == []


@pytest.mark.parametrize(
    ("waits_for", "load", "expected"),
    [
        ("", 0.4, "Networks: 31 s by now, usually 10 s"),
        ("mirror answers", 1.5, "Networks: 31 s by now, usually 10 s; waits for mirror answers"),
        ("", 2.0, "Networks: 31 s by now, usually 10 s; this machine is busy (2.0 processes for each core)"),
    ],
)
def test_what_is_said(waits_for: str, load: float, expected: str) -> None:
    assert slowness("Networks", 31.4, 10.0, waits_for, load) == expected


def test_the_innermost_wait_is_named() -> None:
    with going_on("outer"), contextlib.suppress(ZeroDivisionError), going_on(lambda: "inner"):
        assert waited_for() == "inner"
        raise ZeroDivisionError
    assert waited_for() == ""
