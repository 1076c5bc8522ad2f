"""Steps of long work: told to a reporter, timed, and the times kept as evidence in ``<state>/timings.json``.

A step that fails is named in its error. One that takes much longer than it usually does says so while it lasts, with
what it waits for: a lab is raised on machines that have other things to do as well.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lab import commands, state
from lab.errors import LabError
from lab.reporting import Reporter
from toolchain import ToolchainError

SLOW: Final = 2.0
"""A step is slow when it takes more than this many times its usual time ..."""
SLOW_AT_LEAST_SECONDS: Final = 15.0
"""... and more than this: a second instead of a tenth is not worth a word."""
SAID_AGAIN_SECONDS: Final = 60.0
"""A step that goes on being slow says so again after this time."""


class StepFailed(LabError):
    """A step ended badly; the text says which one, and why."""


def timings_file() -> Path:
    """Where the times of every run are."""
    return state.STATE / "timings.json"


@dataclass
class Steps:
    """The steps of one run. The file is written after each, so that a run that was killed has left its part."""

    reporter: Reporter
    run: str
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    _done: list[dict[str, Any]] = field(default_factory=list)
    _begin: float = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def step(self, title: str, *, usual_seconds: float | None = None) -> Iterator[None]:
        """One step. ``usual_seconds`` is its time on an idle machine with 2 cores; None: nobody can know.

        A :class:`~lab.errors.LabError` of the block, and one of the toolchain, comes out as a :class:`StepFailed` with
        the title.
        """
        start = time.monotonic()
        try:
            with self.reporter.step(title), _told_when_slow(self.reporter.note, title, usual_seconds):
                yield
        except StepFailed:
            raise
        except (LabError, ToolchainError) as error:
            raise StepFailed(f"{title}: {error}") from error
        self._done.append({"step": title, "seconds": round(time.monotonic() - start, 2)})
        self._save()

    @property
    def seconds(self) -> float:
        """The time since the run began."""
        return time.monotonic() - self._begin

    def _save(self) -> None:
        if not state.STATE.is_dir():
            return
        runs = [run for run in read_timings() if run["started"] != self.started or run["run"] != self.run]
        runs.append(
            {"run": self.run, "started": self.started, "seconds": round(self.seconds, 2), "steps": list(self._done)}
        )
        state.write_json(timings_file(), {"runs": runs})


@contextlib.contextmanager
def _told_when_slow(note: Callable[[str], None], title: str, usual_seconds: float | None) -> Iterator[None]:
    """Calls ``note`` from another thread while the block is slow."""
    if usual_seconds is None:
        yield
        return
    over = threading.Event()
    start = time.monotonic()

    def watch() -> None:
        pause = max(SLOW * usual_seconds, SLOW_AT_LEAST_SECONDS)
        while not over.wait(pause):
            note(slowness(title, time.monotonic() - start, usual_seconds, commands.waited_for(), load_per_core()))
            pause = SAID_AGAIN_SECONDS

    watching = threading.Thread(target=watch, name=f"slowness of {title}", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def slowness(title: str, seconds: float, usual_seconds: float, waited_for: str, load: float) -> str:
    """What is said of a step that is slow. ``load`` is the number of processes that want a core, for each core."""
    said = f"{title}: {seconds:.0f} s by now, usually {usual_seconds:.0f} s"
    if waited_for:
        said += f"; waits for {waited_for}"
    if load > 1.5:
        said += f"; this machine is busy ({load:.1f} processes for each core)"
    return said


def load_per_core() -> float:
    """The load average of the last minute over the number of cores."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def read_timings() -> list[dict[str, Any]]:
    """All runs of this lab, the oldest first."""
    found = state.read_json(timings_file())
    return list(found["runs"]) if found else []
