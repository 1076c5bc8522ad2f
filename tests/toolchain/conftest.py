"""Every test gets a cache of its own and none of the caller's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain import Progress, cache
from toolchain.progress import Reporter


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CI", "ISTHMUS_TOOLCHAIN", "PULUMI_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    return cache.root()


@pytest.fixture
def events() -> list[Progress]:
    return []


@pytest.fixture
def reporter(events: list[Progress]) -> Reporter:
    return Reporter("tool", events.append, clock=lambda: 0.0)
