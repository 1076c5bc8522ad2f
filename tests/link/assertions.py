"""What several tests of the link ask, with messages that tell the whole state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lab.topology import DEFAULT
from lab.verify.checks import all_checks
from lab.verify.results import CheckResult

ALL_BUT_THROUGHPUT: Final = sorted({check.id.rsplit(".", 1)[-1] for check in all_checks(DEFAULT)} - {"throughput"})
"""What `lab verify --only` takes for every kind of check but the one that takes half a minute a direction."""


def all_passed(results: Mapping[str, CheckResult]) -> None:
    """Every check passed, and there was at least one."""
    assert results
    failed = [f"{one.id}: {one.observed} (expected {one.expected})" for one in results.values() if one.status != "pass"]
    assert failed == []


def failed_ids(results: Mapping[str, CheckResult]) -> set[str]:
    """The ids of the checks that did not pass."""
    return {one.id for one in results.values() if one.status != "pass"}


def described(results: Iterable[CheckResult]) -> str:
    """One line for each result."""
    return "\n".join(f"{one.status} {one.id}: {one.observed}" for one in results)
