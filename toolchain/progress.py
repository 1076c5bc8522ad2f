"""Progress of long work: the events, and a printer for people and for logs.

Whoever does the work knows only a callable that takes a :class:`Progress`; how it looks is decided here or by the
caller.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TextIO

Step = Literal["wait", "note", "install", "download", "resolve", "generate", "compile", "link", "copy", "done"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One event of making a tool ready.

    ``completed`` and ``total`` count packages while compiling, modules while resolving (total 0: not known yet), bytes
    while downloading. Packages that the compiler's own cache already holds are never reported, so compiling may end
    before ``completed`` reaches ``total``. ``seconds`` is the time since work on this tool began, ``left_seconds`` an
    estimate of what is left of all tools that are made in one go.
    """

    tool: str
    step: Step
    seconds: float
    completed: int = 0
    total: int = 0
    message: str = ""
    left_seconds: float | None = None


Report = Callable[[Progress], None]


class Reporter:
    """Makes the events of one tool and hands them to ``sink``: it holds the tool's name and the time of the start."""

    def __init__(self, tool: str, report: Report | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.tool = tool
        self.sink = report
        self._clock = clock
        self._start = clock()

    @property
    def seconds(self) -> float:
        """Seconds since this reporter was made."""
        return self._clock() - self._start

    def __call__(self, step: Step, message: str = "", *, completed: int = 0, total: int = 0) -> None:
        """Reports one event; without a sink, nothing."""
        if self.sink is None:
            return
        event = Progress(
            tool=self.tool, step=step, seconds=self.seconds, completed=completed, total=total, message=message
        )
        self.sink(event)


def describe(event: Progress) -> str:
    """One line of text for an event, without the line's end."""
    counted = {"compile": "packages", "resolve": "modules", "download": "MB"}
    text = f"{event.tool}: {event.step}"
    if event.step in counted and (event.completed or event.total):
        unit = 1_000_000 if event.step == "download" else 1
        done, total = event.completed // unit, event.total // unit
        text += f" {done} of {total} {counted[event.step]}" if total else f" {done} {counted[event.step]}"
    if event.message:
        text += f": {event.message}" if event.step in ("wait", "note") else f" {event.message}"
    left = "" if event.left_seconds is None else f", {in_words(event.left_seconds)} left in all"
    return f"{text} ({event.seconds:.0f} s{left})"


def in_words(seconds: float) -> str:
    """A length of time that is only an estimate, in whole minutes."""
    return f"about {math.ceil(seconds / 60)} min" if seconds >= 60 else "less than a minute"


class Printer:
    """Prints events: on a terminal a line that renews itself, elsewhere one line per step and one each 30 seconds."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        every_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._every_seconds = every_seconds
        self._clock = clock
        self._last: tuple[str, Step] | None = None
        self._printed_at = 0.0
        self._open_line = False

    def __call__(self, event: Progress) -> None:
        """Prints the event, unless it says nothing new."""
        lasting = event.step in ("note", "done", "wait")
        if self._terminal:
            self._stream.write(f"\r\x1b[2K{describe(event)}")
            self._open_line = not lasting
            if lasting:
                self._stream.write("\n")
        elif lasting or (event.tool, event.step) != self._last or self._due():
            self._stream.write(f"{describe(event)}\n")
            self._printed_at = self._clock()
        self._last = (event.tool, event.step)
        self._stream.flush()

    def _due(self) -> bool:
        return self._clock() - self._printed_at >= self._every_seconds

    def close(self) -> None:
        """Ends a line that is still being renewed, so that what follows starts on a line of its own."""
        if self._open_line:
            self._stream.write("\n")
            self._open_line = False
