"""What several tests of the link ask, with messages that tell the whole state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lab.commands import wait_until
from lab.project import Tools
from lab.status import Status, collect, unready
from lab.topology import DEFAULT, Topology
from lab.verify.checks import all_checks
from lab.verify.results import CheckResult

ALL_BUT_THROUGHPUT: Final = sorted({check.id.rsplit(".", 1)[-1] for check in all_checks(DEFAULT)} - {"throughput"})
"""What `lab verify --only` takes for every kind of check but the one that takes half a minute a direction."""


def told(status: Status) -> str:
    """The whole state in a line: verdicts, what is missing, causes."""
    causes = [f"{cause.kind} {cause.sentence} [{', '.join(links)}]" for cause, links in status.causes]
    verdicts = [
        f"{link.source} → {link.target}: {link.verdict}, names {link.names}, {link.path}" for link in status.links
    ]
    return "; ".join([*verdicts, *unready(status), *causes])


def in_health(lab: Topology, tools: Tools, *, within_seconds: float) -> Status:
    """Waits until the lab is in health: packets and names pass everywhere, all is ready, no cause is named."""
    seen: list[Status] = []

    def reached() -> Status | None:
        seen.append(collect(lab, tools))
        return seen[-1] if seen[-1].in_health else None

    return wait_until(
        reached,
        what="the lab is in health",
        deadline_seconds=within_seconds,
        state=lambda: told(seen[-1]),
        every_seconds=0.5,
    )


def all_passed(results: Mapping[str, CheckResult]) -> None:
    """Every check passed, and there was at least one."""
    assert results
    failed = [
        f"{result.id}: {result.observed} (expected {result.expected})"
        for result in results.values()
        if result.status != "pass"
    ]
    assert failed == [], "; ".join(failed)


def failed_ids(results: Mapping[str, CheckResult]) -> set[str]:
    """The ids of the checks that did not pass."""
    return {result.id for result in results.values() if result.status != "pass"}


def described(results: Iterable[CheckResult]) -> str:
    """One line for each result."""
    return "\n".join(f"{result.status} {result.id}: {result.observed}" for result in results)
