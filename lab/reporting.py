"""How long work in the lab tells what it does: the lab calls a :class:`Reporter`, who prints is the caller's choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from toolchain import Progress


class Reporter(Protocol):
    """Someone who is told what is going on."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """A step that lasts as long as the block; its end and its time are shown when the block ends well."""

    def update(self, text: str) -> None:
        """What the step is at now; the next update replaces it."""

    def note(self, text: str) -> None:
        """Something worth a lasting line."""

    def output(self, source: str, line: str) -> None:
        """A line that a program wrote, shown as it came."""

    def progress(self, event: Progress) -> None:
        """An event of the toolchain, of a base tree or of an image."""


class Silent:
    """A reporter that shows nothing; for tests and for callers who print a result only."""

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Runs the block."""
        yield

    def update(self, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def output(self, source: str, line: str) -> None:
        """Nothing."""

    def progress(self, event: Progress) -> None:
        """Nothing."""
