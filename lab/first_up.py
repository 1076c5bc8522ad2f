"""Raises the lab from nothing again and again, as a person does, every second time beside busy processes.

Each run is `./isthmus lab up` and `./isthmus lab down` as processes of their own. Nobody helps: what counts is that
each of them ends well by itself, and how long it took.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from lab import state
from lab.errors import LabInUse
from lab.private_files import tail
from lab.project import REPOSITORY
from lab.reporting import Reporter
from lab.steps import read_timings

UP_SECONDS: Final = 5400.0
"""A guard: with no tool built, on a slow machine, it takes the better part of it."""
DOWN_SECONDS: Final = 600.0
BUSY: Final = ("sh", "-c", "exec gzip -9 < /dev/zero > /dev/null")
"""One core's worth of work."""


@dataclass(frozen=True, kw_only=True)
class FirstUp:
    """One run. ``load`` is that of the last minute when `lab up` ended, ``steps`` its times by title, in seconds."""

    number: int
    busy: int
    """How many busy processes ran beside it."""
    code: int
    seconds: float
    down_code: int
    down_seconds: float
    load: float
    steps: dict[str, float]
    left: tuple[str, ...]
    """What of the lab was there after `lab down`."""
    said: str
    """The last lines of a `lab up` or `lab down` that did not end well."""

    @property
    def passed(self) -> bool:
        """Whether it ended well by itself, and left nothing."""
        return self.code == self.down_code == 0 and not self.left

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "passed": self.passed}


def beside(number: int, busy: int) -> int:
    """How many busy processes run beside this run, counted from 1: none beside the first, and then in turns."""
    return busy if number % 2 == 0 else 0


def measure(reporter: Reporter, logs: Path, *, runs: int, busy: int) -> Iterator[FirstUp]:
    """All runs, each as soon as it is over; their output is in ``logs``.

    Raises :class:`~lab.errors.LabInUse` where there is a lab already: it is somebody's.
    """
    for number in range(1, runs + 1):
        if left := state.leftovers():
            raise LabInUse(f"There is a lab, or a part of one, on this machine: {left[0]}. `./isthmus lab down` first.")
        loops = beside(number, busy)
        with reporter.step(f"lab up and down, {number} of {runs}" + (f", beside {loops} gzip" if loops else "")):
            found = _run(number, loops, logs)
        yield found


def _run(number: int, busy: int, logs: Path) -> FirstUp:
    log = logs / f"{number}.log"
    with processes_at_work(busy):
        code, seconds = _isthmus(log, "up", UP_SECONDS)
        load = os.getloadavg()[0]
    timed = read_timings()
    said = tail(log) if code else ""
    down_code, down_seconds = _isthmus(log, "down", DOWN_SECONDS)
    return FirstUp(
        number=number,
        busy=busy,
        code=code,
        seconds=round(seconds, 1),
        down_code=down_code,
        down_seconds=round(down_seconds, 1),
        load=round(load, 1),
        steps={step["step"]: step["seconds"] for step in timed[-1]["steps"]} if timed else {},
        left=tuple(state.leftovers()),
        said=said or (tail(log) if down_code else ""),
    )


@contextlib.contextmanager
def processes_at_work(count: int, command: Sequence[str] = BUSY) -> Iterator[None]:
    """That many processes that want a core each, for as long as the block lasts."""
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _isthmus(log: Path, command: str, deadline_seconds: float) -> tuple[int, float]:
    """Code and seconds of `./isthmus lab COMMAND`. One that hangs is ended, and its code is that of its signal."""
    start = time.monotonic()
    with log.open("a") as output:
        process = subprocess.Popen(
            [str(REPOSITORY / "isthmus"), "lab", command], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            code = process.wait(deadline_seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            code = process.wait() or -15
    return code, time.monotonic() - start
