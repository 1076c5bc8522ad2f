"""Which cause a failed check has: what `lab status` finds out of the same link, by the check's own question. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lab.status import Cause, Status
from lab.verify.checks import Check
from lab.verify.results import CheckResult


def with_causes(made: Sequence[tuple[Check, CheckResult]], status: Status) -> list[CheckResult]:
    """The results; each that did not pass with the cause and its fix, where the status names one.

    Where it names none, the check's own fix stands: a command that shows more.
    """
    return [result if result.status == "pass" else _with_cause(check, result, status) for check, result in made]


def told(status: Status) -> str:
    """Every cause in the lab, a line each with its fix; empty without one."""
    return "\n".join(f"{cause.sentence}\n  fix: {cause.fix}" for cause, _ in status.causes)


def _with_cause(check: Check, result: CheckResult, status: Status) -> CheckResult:
    found = list(_causes(check, status))
    if not found:
        return result
    return replace(result, cause="; then ".join(cause.sentence for cause in found), fix=found[0].fix)


def _causes(check: Check, status: Status) -> Iterable[Cause]:
    if len(check.ends) == 2:
        for cause in status.link(*check.ends).causes:
            of_services = check.about == "services" and "services" in cause.where
            if cause.explains_packets or (cause.explains_names and check.about == "names") or of_services:
                yield cause
        return
    site = check.ends[0]
    wanted = ("egress-",) if check.about == "egress policy" else ("zone-missing", "cluster-dns-away")
    for cause, links in status.causes:
        own = (f" {cause.where}").endswith(f" {site}") and any(link.startswith(f"{site} ") for link in links)
        if cause.id.startswith(wanted) and own:
            yield cause
