"""`./isthmus lab status` as people and programs see it: tables, causes with their fixes, exit code, JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from cli import lab
from cli.status_text import print_problems, print_remarks, print_status
from lab.status import Status
from lab.status.results import KeeperStatus
from tests.lab.status.samples import probes
from tests.lab.status.test_results import CLUSTER, GOOD, LINK, cause

LOST = replace(
    cause("rules-missing", "fault", explains=True, where="de-agent-1, router of de"),
    observed="no ip rule with priority 105",
    fix=f"kubectl --context de {'x' * 120}",
)
GUARD = cause("guard-missing", "security")
KUBELET = cause("kubelet-away", "remark", where="mn-2 of mn")
DOWN = replace(
    GOOD,
    links=(
        replace(LINK, verdict="partly", probes=tuple(probes(lost_from=["other"])), causes=(LOST, GUARD, KUBELET)),
        replace(LINK, source="mn", target="de", causes=(GUARD, KUBELET)),
    ),
)
REMARKED = replace(GOOD, links=(replace(LINK, causes=(KUBELET,), not_probed=("mn has no pod there.",)),))


def shown(status: Status, *, width: int = 100, colour: bool = False) -> str:
    out = Console(
        width=width, record=True, file=None, force_terminal=colour, color_system="standard" if colour else None
    )
    with out.capture() as captured:
        print_status(out, status, machines_too=True)
        if status.is_up:
            print_remarks(out, status)
        else:
            print_problems(out, status)
    return captured.get()


def test_health_says_nothing_but_the_tables() -> None:
    said = shown(GOOD)
    assert "up (4 of 4 probes)" in said
    assert "answered" in said
    for word in ("Cause", "fault", "Remark", "fix", "Probes:"):
        assert word not in said


def test_of_two_routers_it_is_said_which_one_leads_to_whom() -> None:
    keeper = KeeperStatus(ok=True, reasons=(), draining=False, out={"de": "mn-2", "kz": "mn-3"}, over={}, mended={})
    first = replace(CLUSTER.routers[0], keeper=keeper)
    two = replace(CLUSTER, routers=(first, replace(first, node="mn-3"), replace(first, node="mn-4", keeper=None)))
    said = shown(replace(GOOD, clusters=(two,)), width=120)
    assert [line.split()[-2:] for line in said.splitlines() if "100.77.0.2" in line] == [
        ["de", "mn.internal"],
        ["100.77.0.2", "kz"],
        ["100.77.0.2", "-"],
    ]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_word_is_lost_where_it_is_narrow(width: int) -> None:
    """Cells wrap within their columns, or every row becomes a block."""
    narrow = shown(GOOD, width=width)
    assert max(map(len, narrow.splitlines())) <= width
    lost = set(shown(GOOD).replace("─", "").split()) - set(narrow.split())
    assert lost <= {"machine", "or", "server", "cluster", "link"}, "a block needs no name of its first column"
    assert "\x1b[32m" in shown(GOOD, width=width, colour=True), "verdicts keep their colour"


def test_what_is_lost_and_why_and_what_mends_it() -> None:
    said = shown(DOWN)
    assert "partly (2 of 4 probes)" in said
    assert "2 of 4 probes from de to mn are lost" in said
    lines = said.splitlines()
    first = lines.index("Cause: rules missing (de-agent-1, router of de): no ip rule with priority 105")
    # In one piece, however long, so that it can be copied.
    assert lines[first + 1 : first + 3] == ["  lost by it: de → mn", f"  fix: {LOST.fix}"]
    assert "Security fault: guard missing (mn-2, router of mn): seen" in lines
    assert "Remark: kubelet away (mn-2 of mn): seen" in lines
    assert said.count("guard missing") == 1


def test_a_remark_of_a_lab_that_is_up() -> None:
    said = shown(REMARKED)
    assert "Remark: kubelet away (mn-2 of mn): seen" in said
    assert "Probes: mn has no pod there." in said


@pytest.mark.parametrize(("status", "code"), [(GOOD, 0), (REMARKED, 0), (DOWN, 1)])
@pytest.mark.parametrize("as_json", [True, False])
def test_the_exit_code_is_0_only_for_a_lab_that_is_up(
    status: Status, code: int, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.lab.lab_env.require_lab", lambda: None)
    monkeypatch.setattr("cli.lab.lab_up.tools_of_person", lambda: None)
    monkeypatch.setattr("cli.lab.collect", lambda *_: status)
    assert lab.status(as_json=as_json) == code
    said = capsys.readouterr().out
    if as_json:
        assert json.loads(said)["up"] is (code == 0)
    else:
        assert ("kubelet away" in said) == (status is not GOOD)
