"""The result of a check, and what follows from a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["pass", "fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge says of facts."""

    status: Outcome
    observed: str
    expected: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """A check that was made: which, what came of it, and how long it took."""

    id: str
    title: str
    status: Outcome
    observed: str
    expected: str
    fix: str
    seconds: float
    cause: str = ""
    """What `lab status` names as the cause; empty where it names none."""

    def as_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def result(identifier: str, title: str, verdict: Verdict, seconds: float) -> CheckResult:
    """A verdict as the result of a check. The fix is left out where nothing is to be mended."""
    return CheckResult(
        id=identifier,
        title=title,
        status=verdict.status,
        observed=verdict.observed,
        expected=verdict.expected,
        fix=verdict.fix if verdict.status != "pass" else "",
        seconds=round(seconds, 3),
    )


def exit_code(results: Sequence[CheckResult]) -> int:
    """0 when every check passed; 1 when one failed, was skipped, or none was made."""
    return 0 if results and all(check.status == "pass" for check in results) else 1
