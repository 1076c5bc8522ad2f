"""What runs of the program leave behind is collected at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Else it is collected at any time later, and CPython 3.11 does not stand that while it parses source:
    "SystemError: AST constructor recursion depth mismatch", from whatever imports or reads a module next.
    """
    yield
    gc.collect()
