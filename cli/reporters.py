"""What is long tells what it is at: a moving line on a terminal, plain lines elsewhere.

Both are a :class:`lab.reporting.Reporter`. Beside ``console.py``, because a command that prints only its result needs
none of what a moving line takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli.console import duration, messages
from lab.reporting import Reporter
from toolchain import Progress
from toolchain.progress import describe

PLAIN_UPDATE_SECONDS = 30.0
"""Without a terminal, one line of progress in this time: enough for a log to show life."""


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


SPINNER_WIDTH = 3
"""Columns of the spinner and the gaps beside it."""
SHORTEST_TITLE = 20


def moving_line(title: str, time_: str, detail: str, *, width: int) -> Text:
    """What a step is, how long it takes, and what it is at, in ``width`` columns.

    Where that is too narrow the title gives way first: it stood there from the beginning, the detail is the news.
    """
    text = Text(title, style="bold")
    needed = len(time_) + len(detail) + (4 if detail else 2)
    text.truncate(max(SHORTEST_TITLE, width - needed), overflow="ellipsis")
    text.append(f"  {time_}", style="dim")
    if detail:
        text.append(f"  {detail}", style="cyan")
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text


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
        width = self._console.width - SPINNER_WIDTH
        line.add_row(self._spinner, moving_line(title, duration(time.monotonic() - start), self._detail, width=width))
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
