"""What several tests of the link ask, with messages that tell the whole state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.verify.results import CheckResult


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
