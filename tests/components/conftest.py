"""Runs of the program and an account of NetBird, for all tests of the components; and what runs leave is collected at
once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest

from tests.components.netbird_server import Netbird, running
from tests.components.recording import Run, shared_run
from tests.domain.samples import MN, changed


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Else it is collected at any time later, and CPython 3.11 does not stand that while it parses source:
    "SystemError: AST constructor recursion depth mismatch". Our own tests parse by :func:`tests.parsing.parsed`.
    """
    yield
    gc.collect()


@pytest.fixture(scope="session")
def de() -> Run:
    """de, linked with mn. Nobody changes it."""
    return shared_run("de")


@pytest.fixture(scope="session")
def mn() -> Run:
    """mn, linked with de. Nobody changes it."""
    return shared_run("mn")


@pytest.fixture(scope="session")
def two() -> Run:
    """Mn with two routers, linked with de. Nobody changes it."""
    return shared_run("mn", changed(MN, {"on_premise.machines.0.router": True}))


@pytest.fixture
def netbird() -> Iterator[Netbird]:
    """An account with nothing in it."""
    with running() as server:
        yield server


@dataclass(frozen=True)
class Hook:
    """A hook as it was given to the engine. The SDK's own asks a running engine for its place."""

    name: str
    callback: Callable[[pulumi.ResourceHookArgs], Any]
    opts: pulumi.ResourceHookOptions | None = None


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks can be made without an engine, and their callbacks be run."""
    monkeypatch.setattr(pulumi, "ResourceHook", Hook)


@dataclass(frozen=True)
class Told:
    """What the program has told the person at the command."""

    info: list[str]
    warn: list[str]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Instead of the engine's log."""
    found = Told([], [])
    monkeypatch.setattr(pulumi.log, "info", found.info.append)
    monkeypatch.setattr(pulumi.log, "warn", found.warn.append)
    monkeypatch.setattr(pulumi.log, "debug", lambda message: None)
    return found
