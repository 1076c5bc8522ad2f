"""What holds for all tests."""

from __future__ import annotations

import gc
import os

import hypothesis  # Early: imported at the end of a run, Python 3.11 fails with an AST recursion SystemError.
import pytest

LINK_TIMEOUT_SECONDS = 1800.0
ENGINE_TIMEOUT_SECONDS = 600.0

# Property tests remember nothing between runs, and a busy machine fails none: pytest's own time limit holds. Here and
# not beside them, because tests of other directories import some of them, and each takes the settings of that moment.
hypothesis.settings.register_profile("isthmus", deadline=None, database=None)
hypothesis.settings.load_profile("isthmus")

# Next to nothing that comes with modules and tests is ever garbage. To look for it each time that Python does by itself
# is a quarter of what collecting the tests takes, in each of the processes.
gc.set_threshold(50_000, 20, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives tests of the real engine and of the lab the time that they need.

    The tests of the wrapper share a Python environment that takes seconds to make, for each process that runs some of
    them: they come first, where no other process takes them over.
    """
    items.sort(key=lambda item: item.path.name != "test_wrapper.py")
    for item in items:
        if item.get_closest_marker("timeout") is not None:
            continue
        if item.get_closest_marker("link") is not None:
            item.add_marker(pytest.mark.timeout(LINK_TIMEOUT_SECONDS))
        elif item.get_closest_marker("engine") is not None:
            item.add_marker(pytest.mark.timeout(ENGINE_TIMEOUT_SECONDS))


def pytest_collection_finish() -> None:
    """What is there now stays to the end, thousands of tests and the modules: the garbage collector need not look."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches the code: neither Pulumi's, nor Kubernetes', nor colours."""
    for name in list(os.environ):
        if name.startswith(("PULUMI_", "KUBE", "HELM_", "HCLOUD_")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
