"""Short commands that must succeed, waiting for a condition with a deadline, and what is waited for just now.

It owns the form of the errors; what is run, and what it means, is the caller's knowledge.

Every deadline that only guards against something that hangs is generous: a lab is raised on two cores beside other
work, where what takes milliseconds may take a minute. Whoever looks meanwhile sees what is waited for
(:func:`going_on`).
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lab.errors import CommandFailed, DeadlinePassed

T = TypeVar("T")

DEADLINE_SECONDS = 300.0
"""For commands that set something in the kernel and normally take milliseconds: a guard against one that hangs."""

_going_on: dict[object, Callable[[], str]] = {}
"""What is waited for, the latest last; all threads of the process."""


@contextlib.contextmanager
def going_on(what: str | Callable[[], str]) -> Iterator[None]:
    """Notes that the block waits for ``what``, for whoever asks :func:`waited_for`; a function is called then."""
    mark = object()
    _going_on[mark] = (lambda: what) if isinstance(what, str) else what
    try:
        yield
    finally:
        del _going_on[mark]


def waited_for() -> str:
    """What this process waits for just now, the innermost; empty when it is at work itself."""
    found = list(_going_on.values())
    return found[-1]() if found else ""


def run(argv: Sequence[str], *, text: str = "", deadline_seconds: float = DEADLINE_SECONDS) -> str:
    """Runs the command with ``text`` as its input and returns its output; raises :class:`CommandFailed` otherwise."""
    try:
        with going_on(f"the end of `{shlex.join(argv)}`"):
            result = subprocess.run(
                argv,
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=deadline_seconds,
                check=False,
            )
    except FileNotFoundError:
        raise CommandFailed(f"{argv[0]} is not installed; the lab needs it.") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{shlex.join(argv)} did not end within {deadline_seconds:.0f} s.") from None
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip())[-2000:]
        raise CommandFailed(f"{shlex.join(argv)} ended with code {result.returncode}: {said}")
    return result.stdout


def wait_until(
    condition: Callable[[], T | None],
    *,
    what: str,
    deadline_seconds: float,
    state: Callable[[], str] = lambda: "",
    every_seconds: float = 0.05,
) -> T:
    """Calls ``condition`` until it returns something true, and returns that.

    At the deadline raises :class:`~lab.errors.DeadlinePassed` with ``what`` was waited for and the last ``state``.
    """
    end = time.monotonic() + deadline_seconds
    with going_on(what):
        while True:
            result = condition()
            if result:
                return result
            if time.monotonic() >= end:
                last = state()
                seen = f" Last seen: {last}" if last else ""
                raise DeadlinePassed(f"{what}: not within {deadline_seconds:g} s.{seen}")
            time.sleep(every_seconds)
