"""`./isthmus test`: counting, skips, and the closing line; and `./isthmus check` seen to fail."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from cli import checks, testing
from cli.checks import Check, run_check
from cli.results import PartResult, Skip, Timed, print_results, read_report
from toolchain import ToolchainError, estimates

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
<testcase classname="tests.test_a.TestIt" name="test_passes[5]" time="0.1"/>
<testcase classname="tests.a" name="test_fails"><failure message="no"/></testcase>
<testcase classname="tests.a" name="test_breaks"><error message="no"/></testcase>
<testcase classname="tests.a" name="test_skips"><skipped type="pytest.skip" message="needs root"/></testcase>
<testcase classname="tests.a" name="test_xfails"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>
"""


def test_the_report_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    result = read_report("unit", path)
    assert (result.passed, result.failed) == (2, 2)
    assert result.skips == (Skip(test="tests.a::test_skips", reason="needs root"),)
    assert result.times[0] == Timed(file="tests/test_a.py", test="TestIt::test_passes[5]", seconds=0.1)
    assert len(result.times) == 5


@pytest.mark.parametrize(
    ("result", "good", "good_in_ci"),
    [
        (PartResult(part="unit", passed=1, failed=0), True, True),
        (PartResult(part="unit", passed=1, failed=1), False, False),
        (PartResult(part="unit", passed=1, failed=0, skips=(Skip(test="t", reason="r"),)), True, False),
        (PartResult(part="unit", passed=0, failed=0, notes=("no test of the part unit was found",)), False, False),
    ],
)
def test_a_skip_fails_where_none_is_allowed(result: PartResult, good: bool, good_in_ci: bool) -> None:
    assert result.is_good(no_skips=False) is good
    assert result.is_good(no_skips=True) is good_in_ci


def test_skips_are_told_with_their_reasons_and_a_closing_line_counts(capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        PartResult(part="unit", passed=3, failed=0, skips=(Skip(test="tests.a::t", reason="needs root"),), seconds=4.0),
        PartResult(part="link", passed=0, failed=1, seconds=100.0),
    ]
    print_results(results, no_skips=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "unit    passed  3 passed, 0 failed, 1 skipped  4.0 s",
        "        skipped tests.a::t: needs root",
        "link    FAILED  0 passed, 1 failed, 0 skipped  100 s",
        "3 passed, 1 failed, 1 skipped",
    ]


def test_what_took_the_time_is_told_by_file_and_by_test(capsys: pytest.CaptureFixture[str]) -> None:
    times = [Timed(file="tests/a.py", test=f"test_{number}", seconds=20.0) for number in range(3)]
    times += [Timed(file=f"tests/{name}.py", test="test", seconds=0.5) for name in "bc"]
    result = PartResult(part="link", passed=5, failed=0, seconds=130.0, times=tuple(times))
    print_results([result], no_skips=False, budget_seconds=120.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "time of link, by file",
        "          60 s  tests/a.py (3 tests)",
        "         1.0 s  2 other files",
    ]
    assert lines[5:8] == [
        "slowest tests",
        "          20 s  tests/a.py::test_0",
        "          20 s  tests/a.py::test_1",
    ]
    assert "in all   2 min 10 s, of 2 min with every tool built" in lines


@pytest.fixture
def parts_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs, in this order, without any of it being run. All of it passes."""
    done: list[str] = []

    def passes(part: str, *_: object, **__: object) -> PartResult:
        done.append(part)
        return PartResult(part=part, passed=1, failed=0)

    monkeypatch.setattr(testing, "_unit", passes)
    monkeypatch.setattr(testing, "run_pytest", passes)
    monkeypatch.setattr(testing, "_link", lambda _: passes("link"))
    return done


def test_tools_are_made_before_the_first_part_that_needs_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts_run: list[str]
) -> None:
    missing = ["etcd", "coredns"]
    monkeypatch.setattr(estimates, "missing", lambda names=(): list(missing))

    def ensure(names: list[str], *, progress: object) -> None:
        parts_run.append(f"make {', '.join(names)}")
        missing.clear()

    monkeypatch.setattr(testing, "ensure", ensure)
    assert testing.run_parts(["unit", "engine", "link"], no_skips=True) == 0
    assert parts_run == ["unit", "make etcd, coredns", "engine", "link"]
    text = capsys.readouterr().out
    assert "\n== tools\n2 tools are not here yet." in text
    assert "\ntools   passed  2 made  0.0 s\n" in text

    parts_run.clear()
    assert testing.run_parts(["unit", "engine", "link"], no_skips=True) == 0
    assert parts_run == ["unit", "engine", "link"]
    assert "tools" not in capsys.readouterr().out


def test_without_its_tools_a_part_is_not_run_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts_run: list[str]
) -> None:
    monkeypatch.setattr(estimates, "missing", lambda names=(): ["etcd"])

    def ensure(names: list[str], *, progress: object) -> None:
        raise ToolchainError("no Go here; install it")

    monkeypatch.setattr(testing, "ensure", ensure)
    assert testing.run_parts(["unit", "engine"], no_skips=True) == 1
    assert parts_run == ["unit"]
    text = capsys.readouterr().out
    assert "unit    passed  1 passed" in text
    assert "engine  FAILED  0 passed, 0 failed, 0 skipped  0.0 s\n        not run: no Go here; install it" in text
    assert "tools   FAILED" in text


def test_no_test_of_the_part_unit_asks_for_a_tool() -> None:
    """A build takes longer than such a test may."""
    files = [path for path in (checks.REPOSITORY / "tests").rglob("test_*.py") if path.parent.name != "toolchain"]
    asking = [path for path in files if re.search(r"\bensure(_recipe)?\(\[?[\"A-Z]", path.read_text())]
    assert len(asking) > 5
    unmarked = [path for path in asking if not re.search(r"mark\.(engine|link)\b", path.read_text())]
    assert [path for path in unmarked if path.parent.name != "link"] == []


def test_a_part_without_tests_fails() -> None:
    result = testing.run_pytest("unit", "engine and link", "tests/cli/test_testing.py", "-q", "-p", "no:cacheprovider")
    assert result.notes == ("no test of the part unit was found",)
    assert not result.is_good(no_skips=False)


@pytest.mark.parametrize(
    ("content", "tool"),
    [("import os\n", "lint"), ("x = {  'a':1}\n", "format"), ("x: int = 'a'\n", "types")],
)
def test_a_bad_file_fails_its_check(tmp_path: Path, content: str, tool: str) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(content)
    found, _ = checks.all_checks()
    check = next(check for check in found if check.name == tool)
    stem = check.command[: {"lint": 3, "format": 4, "types": 1}[tool]]
    configuration = ("--config-file" if tool == "types" else "--config", str(checks.REPOSITORY / "pyproject.toml"))
    outcome = run_check(Check(name=tool, command=(*stem, *configuration, str(bad))))
    assert not outcome.passed
    assert "bad.py" in outcome.output


def test_gofmt_fails_by_what_it_prints() -> None:
    assert run_check(Check(name="x", command=("true",))).passed
    assert not run_check(Check(name="x", command=("false",))).passed
    missing = run_check(Check(name="x", command=("no-such-program",)))
    assert not missing.passed
    assert missing.output.startswith("no-such-program: ")


def test_shell_files_are_found_by_name_and_by_first_line() -> None:
    found, _ = checks.all_checks()
    shell = next(check for check in found if check.name == "shell")
    assert ".ci/run" in shell.command
    assert not any(name.endswith(".py") for name in shell.command)
    assert shell.command[0].startswith(str(Path(sys.executable).parent))
