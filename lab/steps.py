"""Steps of long work: told to a reporter, timed, and the times kept as evidence in ``<state>/timings.json``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import state
from lab.reporting import Reporter


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
    def step(self, title: str) -> Iterator[None]:
        """One step."""
        start = time.monotonic()
        with self.reporter.step(title):
            yield
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


def read_timings() -> list[dict[str, Any]]:
    """All runs of this lab, the oldest first."""
    found = state.read_json(timings_file())
    return list(found["runs"]) if found else []
