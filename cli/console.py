"""Output for people: colours and a moving line on a terminal, plain lines elsewhere.

Results go to stdout, all else to stderr. NO_COLOR is honoured (https://no-color.org). What is long runs in a step of
:class:`TerminalReporter` or :class:`PlainReporter`; both are a :class:`lab.reporting.Reporter`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lab.reporting import Reporter
from toolchain import Progress
from toolchain.progress import describe

PLAIN_UPDATE_SECONDS = 30.0
"""Without a terminal, one line of progress in this time: enough for a log to show life."""


PLAIN_WIDTH = 200


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to the command's guard, which knows that this is no failure."""
        raise BrokenPipeError


def results() -> Console:
    """The console for what a command was asked for."""
    return _console(sys.stdout)


def messages() -> Console:
    """The console for progress, notes and errors."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    # Without a terminal there is no width to fit into; a table that is cut to 80 columns would lose what it tells.
    width = None if stream.isatty() else PLAIN_WIDTH
    return _Console(file=stream, highlight=False, soft_wrap=True, width=width)


def duration(seconds: float) -> str:
    """``8.4 s``, ``93 s`` or ``12 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


class PlainReporter:
    """Lines for logs and pipes: a step's beginning, an update now and then, its end with its time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._title = ""
        self._printed_at = 0.0
        self._last_tool = ""

    def _print(self, text: str) -> None:
        self._console.print(Text(text))
        self._printed_at = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Prints the title, and again with the time when the block ends well."""
        start = time.monotonic()
        outer, self._title, self._last_tool = self._title, title, ""
        self._print(f"{title} ...")
        try:
            yield
            self._print(f"{title}: done in {duration(time.monotonic() - start)}")
        finally:
            self._title = outer

    def update(self, text: str) -> None:
        """Prints the text if nothing was printed for a while."""
        if time.monotonic() - self._printed_at >= PLAIN_UPDATE_SECONDS:
            self._print(f"{self._title}: {text}" if self._title else text)

    def note(self, text: str) -> None:
        """Prints the text."""
        self._print(text)

    def output(self, source: str, line: str) -> None:
        """Prints the line behind its source."""
        self._print(f"  {source} | {line}" if line else f"  {source} |")

    def progress(self, event: Progress) -> None:
        """Prints each beginning and end of a tool's work, and updates between."""
        lasting = event.step in ("note", "done", "wait")
        if lasting or event.tool != self._last_tool:
            self._print(f"  {describe(event)}")
        else:
            self.update(describe(event))
        self._last_tool = event.tool


class TerminalReporter:
    """One moving line with a spinner, the step's title, its time and what it is at; lasting lines scroll above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._titles: list[tuple[str, float]] = []
        self._detail = ""
        self._spinner = Spinner("dots")

    def __rich__(self) -> Table:
        """The moving line, made anew at each refresh so that its seconds run."""
        line = Table.grid(padding=(0, 1))
        title, start = self._titles[-1] if self._titles else ("", time.monotonic())
        text = Text(title, style="bold")
        text.append(f"  {duration(time.monotonic() - start)}", style="dim")
        if self._detail:
            text.append(f"  {self._detail}", style="cyan")
        text.no_wrap = True
        text.overflow = "ellipsis"
        line.add_row(self._spinner, text)
        return line

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Shows the moving line; leaves a check mark and the time when the block ends well."""
        start = time.monotonic()
        self._titles.append((title, start))
        self._detail = ""
        if self._live is None:
            self._live = Live(self, console=self._console, transient=True, refresh_per_second=8)
            self._live.start()
        try:
            yield
        except BaseException:
            self._leave(Text.assemble(("✗ ", "bold red"), title))
            raise
        self._leave(Text.assemble(("✓ ", "bold green"), title, (f"  {duration(time.monotonic() - start)}", "dim")))

    def _leave(self, line: Text) -> None:
        self._titles.pop()
        self._detail = ""
        if not self._titles and self._live is not None:
            self._live.stop()
            self._live = None
        self._console.print(line)

    def update(self, text: str) -> None:
        """Replaces what the moving line says after the time."""
        self._detail = text

    def note(self, text: str) -> None:
        """A line above the moving one."""
        self._console.print(Text(text))

    def output(self, source: str, line: str) -> None:
        """A program's line, with the colours that it has."""
        self._console.print(Text(f"  {source} │ ", style="dim"), Text.from_ansi(line), sep="", end="\n")

    def progress(self, event: Progress) -> None:
        """Lasting events above, all others in the moving line."""
        if event.step in ("note", "done"):
            self.note(f"  {describe(event)}")
        else:
            self.update(describe(event))


def reporter(console: Console | None = None) -> Reporter:
    """The reporter that fits the console: by default stderr."""
    console = messages() if console is None else console
    return TerminalReporter(console) if console.is_terminal else PlainReporter(console)
