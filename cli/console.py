"""Output for people: results go to stdout, all else to stderr, coloured on a terminal. NO_COLOR is honoured
(https://no-color.org).

What is long shows what it is at with ``reporters.py``.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console

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
    # Without a terminal, and with nobody who says it, there is no width to fit into.
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else PLAIN_WIDTH
    return _Console(file=stream, highlight=False, soft_wrap=True, width=width)


def duration(seconds: float) -> str:
    """``8.4 s``, ``93 s`` or ``12 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
