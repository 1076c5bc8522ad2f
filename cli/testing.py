"""`./isthmus test`: the parts of the tests, each timed, counted and judged. In CI a skip is a failure.

Parts: ``check`` (cli/checks.py), ``unit`` (no marker), ``engine`` (the real Pulumi engine), ``link`` (raises the lab,
runs the tests in it, takes it down).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from rich.text import Text

from cli import checks, console
from lab import state
from lab.up import ensure_packages
from toolchain import Printer

REPOSITORY: Final = checks.REPOSITORY
PARTS: Final = ("check", "unit", "engine", "link")
NO_TESTS_COLLECTED: Final = 5
"""pytest's exit code when nothing was collected."""
UNIT_BUDGET_SECONDS: Final = 60.0
UNIT_PROCESSES: Final = (os.cpu_count() or 1) + 1
"""One more than there are cores: some tests wait for a process or a clock."""
TEST_PACKAGES: Final = ("iputils-ping",)
"""Debian packages that the tests use on this machine, besides those of the lab."""
IN_THE_LAB: Final = "tests/lab/hetzner_api"
"""Tests of a part of the lab that need a lab around them."""


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A test that was not run, and why."""

    test: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """What came of a part."""

    part: str
    passed: int
    failed: int
    skips: tuple[Skip, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    """Failures that are no test's: nothing collected, the lab did not come up."""

    def is_good(self, *, no_skips: bool) -> bool:
        """Whether nothing failed, and nothing was skipped where that is not allowed."""
        return self.failed == 0 and not self.notes and not (no_skips and self.skips)


def run_parts(parts: Sequence[str], *, no_skips: bool) -> int:
    """Runs the parts (all without one), prints their results, returns the exit code."""
    out = console.results()
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        console.messages().print(
            Text(f"error: there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}", style="bold red")
        )
        return 2
    run: dict[str, Callable[[], PartResult]] = {
        "check": _check,
        # Who is done first takes over what another still has before it: the tests last from 1 ms to 7 s.
        "unit": lambda: run_pytest(
            "unit", "not engine and not link", f"--numprocesses={UNIT_PROCESSES}", "--dist=worksteal"
        ),
        "engine": lambda: run_pytest("engine", "engine", "--numprocesses=2", "--dist=worksteal"),
        "link": _link,
    }
    results = []
    for part in parts or PARTS:
        out.print(Text(f"\n== {part}", style="bold"))
        start = time.monotonic()
        made = run[part]()
        results.append(
            PartResult(
                part=part,
                passed=made.passed,
                failed=made.failed,
                skips=made.skips,
                seconds=time.monotonic() - start,
                notes=made.notes,
            )
        )
    print_results(results, no_skips=no_skips)
    return 0 if all(result.is_good(no_skips=no_skips) for result in results) else 1


def _check() -> PartResult:
    start = time.monotonic()
    found, left_out = checks.all_checks()
    outcomes = checks.run_checks(found)
    checks.print_outcomes(outcomes, left_out, time.monotonic() - start, closing_line=False)
    return PartResult(
        part="check",
        passed=sum(outcome.passed for outcome in outcomes),
        failed=sum(not outcome.passed for outcome in outcomes),
        skips=tuple(Skip(test="check", reason=sentence) for sentence in left_out),
    )


def run_pytest(part: str, marker: str, *arguments: str) -> PartResult:
    """Runs the tests that the marker expression selects; counts come from pytest's own JUnit report."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", marker, f"--junit-xml={report}", "--durations=5", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        # Compiled modules are kept: the tests start the command line some two hundred times.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        code = subprocess.run(command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL).returncode
        result = read_report(part, report) if report.is_file() else PartResult(part=part, passed=0, failed=0)
    notes = []
    if code == NO_TESTS_COLLECTED:
        notes.append(f"no test of the part {part} was found")
    elif code != 0 and result.failed == 0:
        notes.append(f"pytest ended with code {code}")
    return PartResult(part=part, passed=result.passed, failed=result.failed, skips=result.skips, notes=tuple(notes))


def read_report(part: str, report: Path) -> PartResult:
    """Counts and skips of a JUnit report. A test whose teardown fails counts as failed once."""
    passed, failed, skips = 0, 0, []
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            skips.append(Skip(test=name, reason=skipped.get("message", "")))
        else:
            passed += 1
    return PartResult(part=part, passed=passed, failed=failed, skips=tuple(skips))


def _link() -> PartResult:
    """Tests the lab's own parts without a lab, then raises it, runs the tests in it, and takes it down.

    A lab that is up already is used and stays.
    """
    if os.geteuid() != 0:
        skip = Skip(test="tests/link", reason="the lab needs root")
        return PartResult(part="link", passed=0, failed=0, skips=(skip,))
    was_there = state.STATE.exists()
    # The tests of its parts come before the lab, which would install these itself.
    ensure_packages(*TEST_PACKAGES, progress=Printer())
    parts = run_pytest("link", "link", "-v", "tests/lab", f"--ignore={IN_THE_LAB}")
    try:
        raised = _isthmus("lab", "up")
        if raised != 0:
            return replace(parts, notes=(*parts.notes, f"`lab up` ended with code {raised}"))
        joined = run_pytest("link", "link", "-v", IN_THE_LAB, "tests/link")
    finally:
        down = 0 if was_there else _isthmus("lab", "down")
    notes = [*parts.notes, *joined.notes]
    if down != 0:
        notes.append(f"`lab down` ended with code {down}")
    elif not was_there:
        notes += [f"left by `lab down`: {line}" for line in state.leftovers()]
    return PartResult(
        part="link",
        passed=parts.passed + joined.passed,
        failed=parts.failed + joined.failed,
        skips=(*parts.skips, *joined.skips),
        notes=tuple(notes),
    )


def _isthmus(*arguments: str) -> int:
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL).returncode


def print_results(results: Sequence[PartResult], *, no_skips: bool) -> None:
    """A line for each part with its time, all skips with their reasons, and a closing line for machines."""
    out = console.results()
    out.print()
    for result in results:
        good = result.is_good(no_skips=no_skips)
        counts = f"{result.passed} passed, {result.failed} failed, {len(result.skips)} skipped"
        out.print(
            Text.assemble(
                f"{result.part:<8}",
                ("passed" if good else "FAILED", "green" if good else "bold red"),
                f"  {counts}  {console.duration(result.seconds)}",
            )
        )
        for note in result.notes:
            out.print(Text(f"        {note}", style="bold red"))
        for skip in result.skips:
            out.print(Text(f"        skipped {skip.test}: {skip.reason}", style="bold red" if no_skips else "yellow"))
        if result.part == "unit" and result.seconds > UNIT_BUDGET_SECONDS:
            out.print(Text(f"        slower than its budget of {UNIT_BUDGET_SECONDS:.0f} s", style="yellow"))
    passed = sum(result.passed for result in results)
    failed = sum(result.failed + len(result.notes) for result in results)
    skipped = sum(len(result.skips) for result in results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
