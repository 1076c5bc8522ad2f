"""What failed carries the cause that the status finds, and never the advice to look at the status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.status import LinkStatus, Status
from lab.topology import DEFAULT
from lab.verify.causes import told, with_causes
from lab.verify.checks import Check, all_checks
from lab.verify.results import CheckResult, Verdict, result
from tests.lab.status.test_results import GOOD, LINK, cause

CHECKS = {check.id: check for check in all_checks(DEFAULT)}
FAILED = Verdict(status="fail", observed="0 of 3 replies", expected="3 of 3 replies", fix="look closer")
PASSED = Verdict(status="pass", observed="3 of 3 replies", expected="3 of 3 replies")

RULES = replace(cause("rules-missing", "fault", explains=True, where="de-agent-1, router of de"), fix="new router")
RELAY = replace(cause("relay-away", "fault", where="mn-2, router of mn"), explains_names=True, fix="new relay")
REMARK = cause("kubelet-away", "remark")
EGRESS = cause("egress-policy-missing", "fault", explains=True, where="de")
ZONE = replace(cause("zone-missing", "fault", where="mn"), explains_names=True)


def status(*there: LinkStatus) -> Status:
    back = replace(LINK, source="mn", target="de")
    return replace(GOOD, links=there or (LINK, back))


def judged(identifier: str, found: Status, verdict: Verdict = FAILED) -> CheckResult:
    check: Check = CHECKS[identifier]
    return with_causes([(check, result(check.id, check.title, verdict, 1.0))], found)[0]


BROKEN = status(
    replace(LINK, causes=(RULES, EGRESS, RELAY, REMARK)), replace(LINK, source="mn", target="de", causes=(ZONE, REMARK))
)


@pytest.mark.parametrize(
    ("identifier", "causes", "fix"),
    [
        ("de-mn.other-other.icmp", [RULES, EGRESS], "new router"),
        ("de-mn.router-other.mtu", [RULES, EGRESS], "new router"),
        ("de-mn.other-router.pod-name", [RULES, EGRESS, RELAY], "new router"),
        ("mn-de.router.service-name", [ZONE], "do it"),
        ("mn-de.other-other.tcp", [], "look closer"),
        ("de.egress-policy", [EGRESS], "do it"),
        ("mn.egress-policy", [], "look closer"),
        ("mn.own-zone", [ZONE], "do it"),
        ("de.own-zone", [], "look closer"),
    ],
)
def test_a_failed_check_has_the_causes_of_its_own_question(identifier: str, causes: list[object], fix: str) -> None:
    found = judged(identifier, BROKEN)
    assert found.cause == "; then ".join(given.sentence for given in causes)  # type: ignore[attr-defined]
    assert found.fix == fix
    assert (found.status, found.observed) == ("fail", "0 of 3 replies")


def test_what_passed_has_none() -> None:
    assert judged("de-mn.other-other.icmp", BROKEN, PASSED).cause == ""


def test_all_causes_as_text() -> None:
    assert told(status()) == ""
    assert told(status(replace(LINK, causes=(RULES,)))) == (
        "rules missing (de-agent-1, router of de): seen\n  fix: new router"
    )


def test_every_check_says_what_it_is_about() -> None:
    assert len(CHECKS) > 40
    assert all(check.ends for check in CHECKS.values())
    assert {check.about for check in CHECKS.values()} == {
        *("packets", "names", "services", "sizes", "egress policy", "own zone", "throughput")
    }
