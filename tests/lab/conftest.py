"""The lab that tests with machines of their own need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.raised import a_lab


@pytest.fixture(scope="module")
def lab() -> Iterator[None]:
    """The one that is up, or one without anything in it."""
    with a_lab():
        yield
