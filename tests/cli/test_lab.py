"""`./isthmus lab ...` as a program sees it: exit codes and JSON."""

from __future__ import annotations

import json

import pytest

from cli import console, lab
from lab.verify.results import CheckResult, Verdict, result

PASSED = Verdict(status="pass", observed="3 of 3 replies", expected="3 of 3 replies", fix="")
FAILED = Verdict(status="fail", observed="0 of 3 replies", expected="3 of 3 replies", fix="Is the router up?")


@pytest.mark.parametrize(("second", "code"), [(PASSED, 0), (FAILED, 1)])
@pytest.mark.parametrize("as_json", [True, False])
def test_verify_ends_with_1_when_any_check_fails(
    second: Verdict, code: int, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[CheckResult] = [result("de-mn.one", "one", PASSED, 0.1), result("de-mn.two", "two", second, 0.2)]
    monkeypatch.setattr("cli.lab.lab_env.require_lab", lambda: None)
    monkeypatch.setattr("cli.lab.lab_up.tools_of_person", lambda: None)
    monkeypatch.setattr("cli.lab.run_verify", lambda *_, **__: made)
    assert lab.verify(as_json=as_json, only=(), keep=False) == code
    said = capsys.readouterr().out
    if as_json:
        assert [(entry["id"], entry["status"]) for entry in json.loads(said)] == [
            ("de-mn.one", "pass"),
            ("de-mn.two", second.status),
        ]
    else:
        assert f"{2 - code} of 2 checks passed" in said
        assert ("Is the router up?" in said) == bool(code)


def test_a_failed_check_fits_a_narrow_terminal_but_for_its_fix(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    verdict = Verdict(
        status="fail",
        observed="0 of 3 replies from 10.44.1.17 by 10.42.0.3",
        expected="3 of 3 replies",
        fix="kubectl --context mn -n netbird get pods -o wide",
    )
    title = "a pod of de on the router reaches a pod of mn on another node"
    lab.print_verify(console.results(), [result("de-mn.router-other.icmp", title, verdict, 0.1)])
    *said, fix, last = capsys.readouterr().out.splitlines()
    assert max(map(len, said)) <= 40
    assert " ".join(said[1:4]) == f"de-mn.router-other.icmp failed: {title}"
    assert said[4:6] == ["  observed: 0 of 3 replies from", "            10.44.1.17 by 10.42.0.3"]
    assert fix == f"  fix:      {verdict.fix}"
    assert last == "0 of 1 checks passed"
