"""`./isthmus test`: the parts of the tests, each timed, counted and judged. In CI a skip is a failure.

Parts: ``check`` (cli/checks.py), ``unit`` (no marker), ``engine`` (the real Pulumi engine), ``link`` (raises the lab,
runs the tests in it, takes it down). Which tests of a part run always is in cli/tiers.py. ``coverage`` is the unit
tests of both tiers measured (cli/branch_coverage.py). It takes longer and runs by its name alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.text import Text

from cli import branch_coverage, checks, console, tiers
from cli.results import PartResult, Skip, Tools, print_results, read_report
from lab import state
from lab.up import ensure_packages
from toolchain import Printer, ToolchainError, ensure, estimates

REPOSITORY: Final = checks.REPOSITORY
PARTS: Final = ("check", "unit", "engine", "link", "coverage")
ALWAYS: Final = ("check", "unit", "engine", "link")
"""What runs without a part being named."""
NO_TESTS_COLLECTED: Final = 5
"""pytest's exit code when nothing was collected."""
UNIT_PROCESSES: Final = (os.cpu_count() or 1) + 1
"""One more than there are cores: some tests wait for a process or a clock."""
ENGINE_PROCESSES: Final = 3
"""Such a test waits for a provider, a cluster or a deadline much of its time: two at a time left two cores idle for a
third of it. Most have an API server of their own, so there are no more where there are more cores.
"""
MEASURED_TIMEOUT_SECONDS: Final = 240
"""For a test that has 60 s without being measured (pyproject.toml); the longest run takes some three times as long."""
TEST_PACKAGES: Final = ("iputils-ping",)
"""Debian packages that the tests use on this machine, besides those of the lab."""
OF_THE_ENGINE: Final = (
    "tests/engine",
    "tests/domain/test_corefile_runs.py",
    "tests/domain/test_forwarders_across.py",
    "tests/domain/test_names_across.py",
    "tests/lab/hetzner_api/test_provider.py",
)
"""Where tests of the part ``engine`` are: each of its processes would read all others as well, for some seconds."""
NEED_TOOLS: Final = ("engine", "link")
"""Parts whose tests run what the toolchain makes."""
OF_THE_LINK: Final = "tests/link"
"""Every test there needs a lab, so no other part has to read the folder, once in each of its processes."""
IN_THE_LAB: Final = "tests/lab/hetzner_api"
"""Tests of a part of the lab that need a lab around them."""
WITHOUT_A_LAB: Final = ("tests/lab", "tests/keeper")
"""Tests that need none, or make one without stacks. Keepers have to answer in time, so nothing runs beside them."""
EACH_IN_ITS_OWN: Final = "tests/components/test_guard_script.py"
"""Tests of which each makes a network for itself alone, and waits for the kernel in it: several run at a time."""


def run_parts(parts: Sequence[str], *, no_skips: bool, thorough: bool = False, only_list: bool = False) -> int:
    """Runs the parts (those that protect main without one), prints their results, returns the exit code.

    ``thorough`` takes the tests of the second tier as well; ``only_list`` shows both tiers and runs nothing.
    """
    out = console.results()
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        console.messages().print(
            Text(f"error: there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}", style="bold red")
        )
        return 2
    if only_list:
        shown = {"unit" if part == "coverage" else part for part in parts}
        tiers.print_list([test for test in tiers.collected() if not shown or test.part in shown])
        return 0
    run: dict[str, Callable[[], PartResult]] = {
        "check": _check,
        "unit": lambda: _unit("unit", thorough=thorough),
        "coverage": _coverage,
        "engine": lambda: run_pytest(
            "engine",
            tiers.selection("engine", thorough=thorough),
            *OF_THE_ENGINE,
            f"--numprocesses={ENGINE_PROCESSES}",
            "--dist=worksteal",
        ),
        "link": lambda: _link(tiers.selection("link", thorough=thorough)),
    }
    results: list[PartResult] = []
    tools: Tools | None = None
    for part in parts or ALWAYS:
        if part in NEED_TOOLS:
            tools = tools or _tools()
            if tools.error:
                results.append(PartResult(part=part, passed=0, failed=0, notes=(f"not run: {tools.error}",)))
                continue
        out.print(Text(f"\n== {part}", style="bold"))
        start = time.monotonic()
        made = run[part]()
        results.append(replace(made, seconds=time.monotonic() - start))
    budget = tiers.THOROUGH_BUDGET_SECONDS if thorough else tiers.BUDGET_SECONDS
    print_results(results, no_skips=no_skips, tools=tools, budget_seconds=None if parts else budget)
    return 0 if all(result.is_good(no_skips=no_skips) for result in results) else 1


def _tools() -> Tools:
    """Makes what is missing of them. Here and not where a test asks for one: a build takes longer than a test may."""
    missing = estimates.missing()
    if not missing:
        return Tools(made=0, seconds=0.0)
    console.results().print(Text("\n== tools", style="bold"))
    console.results().print(estimates.foretold(missing))
    start = time.monotonic()
    try:
        ensure(missing, progress=estimates.counted(missing, Printer()))
    except ToolchainError as error:
        return Tools(made=0, seconds=time.monotonic() - start, error=str(error))
    return Tools(made=len(missing), seconds=time.monotonic() - start)


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


def _unit(part: str, *arguments: str, thorough: bool, environment: Mapping[str, str] | None = None) -> PartResult:
    # Who is done first takes over what another still has before it: the tests last from 1 ms to 7 s.
    return run_pytest(
        part,
        tiers.selection("unit", thorough=thorough),
        f"--ignore={OF_THE_LINK}",
        f"--numprocesses={UNIT_PROCESSES}",
        "--dist=worksteal",
        *arguments,
        added=environment,
    )


def _coverage() -> PartResult:
    """The unit tests of both tiers, measured; what they do not run any more is a failure of the part."""
    with tempfile.TemporaryDirectory(prefix="isthmus-coverage-") as name:
        directory = Path(name)
        timeout = f"--timeout={MEASURED_TIMEOUT_SECONDS}"
        result = _unit("coverage", timeout, thorough=True, environment=branch_coverage.environment(directory))
        try:
            reached = branch_coverage.measured(directory)
        except RuntimeError as error:
            return replace(result, notes=(*result.notes, str(error)))
    held = branch_coverage.floors()
    branch_coverage.print_table(reached, held)
    # Tests that failed run less: the figures would say the same a second time.
    wrong = [] if result.failed or result.notes else branch_coverage.judged(reached, held)
    return replace(result, notes=(*result.notes, *wrong))


def run_pytest(part: str, marker: str, *arguments: str, added: Mapping[str, str] | None = None) -> PartResult:
    """Runs the tests that the marker expression selects; counts come from pytest's own JUnit report.

    ``added`` are variables for their environment.
    """
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", marker, f"--junit-xml={report}", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **(added or {})}
        # Compiled modules are kept: the tests start the command line some two hundred times.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        code = subprocess.run(command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL).returncode
        result = read_report(part, report) if report.is_file() else PartResult(part=part, passed=0, failed=0)
    notes = []
    if code == NO_TESTS_COLLECTED:
        notes.append(f"no test of the part {part} was found")
    elif code != 0 and result.failed == 0:
        notes.append(f"pytest ended with code {code}")
    return replace(result, notes=tuple(notes))


def _link(marker: str) -> PartResult:
    """Tests what needs no lab, the lab's own parts without stacks, then raises it, runs the tests in it, takes it down.

    A lab that is up already is used and stays. ``marker`` selects the tests, as pytest's markers do.
    """
    if os.geteuid() != 0:
        skip = Skip(test="tests/link", reason="the lab needs root")
        return PartResult(part="link", passed=0, failed=0, skips=(skip,))
    was_there = state.STATE.exists()
    # The tests of its parts come before the lab, which would install these itself.
    ensure_packages(*TEST_PACKAGES, progress=Printer())
    guards = run_pytest("link", marker, EACH_IN_ITS_OWN, f"--numprocesses={UNIT_PROCESSES}", "--dist=worksteal")
    parts = run_pytest("link", marker, "-v", *WITHOUT_A_LAB, f"--ignore={IN_THE_LAB}")
    try:
        raised = _isthmus("lab", "up")
        if raised != 0:
            return _together(guards, parts, notes=(f"`lab up` ended with code {raised}",))
        joined = run_pytest("link", marker, "-v", IN_THE_LAB, OF_THE_LINK)
    finally:
        down = 0 if was_there else _isthmus("lab", "down")
    notes = []
    if down != 0:
        notes.append(f"`lab down` ended with code {down}")
    elif not was_there:
        notes += [f"left by `lab down`: {line}" for line in state.leftovers()]
    return _together(guards, parts, joined, notes=notes)


def _together(*results: PartResult, notes: Sequence[str]) -> PartResult:
    """The part ``link`` out of several runs of pytest, with further notes."""
    return PartResult(
        part="link",
        passed=sum(result.passed for result in results),
        failed=sum(result.failed for result in results),
        skips=tuple(skip for result in results for skip in result.skips),
        notes=(*(note for result in results for note in result.notes), *notes),
        times=tuple(timed for result in results for timed in result.times),
    )


def _isthmus(*arguments: str) -> int:
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL).returncode
