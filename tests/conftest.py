"""What holds for all tests."""

from __future__ import annotations

import os

import hypothesis  # noqa: F401 -- early: imported at the end of a run, Python 3.11 fails with an AST recursion SystemError
import pytest

LINK_TIMEOUT_SECONDS = 1800.0
ENGINE_TIMEOUT_SECONDS = 600.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives tests of the real engine and of the lab the time that they need."""
    for item in items:
        if item.get_closest_marker("timeout") is not None:
            continue
        if item.get_closest_marker("link") is not None:
            item.add_marker(pytest.mark.timeout(LINK_TIMEOUT_SECONDS))
        elif item.get_closest_marker("engine") is not None:
            item.add_marker(pytest.mark.timeout(ENGINE_TIMEOUT_SECONDS))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches the code: neither Pulumi's, nor Kubernetes', nor colours."""
    for name in list(os.environ):
        if name.startswith(("PULUMI_", "KUBE", "HELM_", "HCLOUD_")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
