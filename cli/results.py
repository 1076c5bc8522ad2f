"""What came of the parts of the tests: counts and times out of pytest's report, and how they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from rich.text import Text

from cli import console
from cli.tables import hanging

UNIT_BUDGET_SECONDS: Final = 60.0
SLOWEST_TESTS: Final = 10
SHOWN_SHARE: Final = 0.02
"""A file that took less of its part's time is only counted."""


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A test that was not run, and why."""

    test: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Timed:
    """How long a test took, with what was set up and put back for it."""

    file: str
    test: str
    seconds: float


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
    times: tuple[Timed, ...] = ()

    def is_good(self, *, no_skips: bool) -> bool:
        """Whether nothing failed, and nothing was skipped where that is not allowed."""
        return self.failed == 0 and not self.notes and not (no_skips and self.skips)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What was made before the tests that need it."""

    made: int
    seconds: float
    error: str = ""
    """Why not all of it."""


def read_report(part: str, report: Path) -> PartResult:
    """Counts, skips and times of a JUnit report. A test whose teardown fails counts as failed once."""
    passed, failed, skips, times = 0, 0, [], []
    for case in ET.parse(report).getroot().iter("testcase"):
        place, name = case.get("classname", ""), case.get("name", "")
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            skips.append(Skip(test=f"{place}::{name}", reason=skipped.get("message", "")))
        else:
            passed += 1
        file, inside = _file_of(place)
        times.append(Timed(file=file, test="::".join([*inside, name]), seconds=float(case.get("time", 0))))
    return PartResult(part=part, passed=passed, failed=failed, skips=tuple(skips), times=tuple(times))


def _file_of(place: str) -> tuple[str, list[str]]:
    """The test file behind a report's class name, and the classes in it: modules are ``test_...``, classes are not."""
    names = place.split(".")
    module = max((index for index, name in enumerate(names) if name.startswith("test_")), default=len(names) - 1)
    return "/".join(names[: module + 1]) + ".py", names[module + 1 :]


def print_results(
    results: Sequence[PartResult], *, no_skips: bool, tools: Tools | None = None, budget_seconds: float | None = None
) -> None:
    """What took the time; a line for each part, all skips with their reasons; and a closing line for machines.

    ``budget_seconds`` is what all of it may take where every tool is there already, so ``tools`` do not count.
    """
    out = console.results()
    _print_times(results)
    out.print()
    if tools is not None and (tools.made or tools.error):
        count = "" if tools.error else f"  {tools.made} made"
        word = Text("FAILED", style="bold red") if tools.error else Text("passed", style="green")
        out.print(Text.assemble("tools   ", word, f"{count}  {console.duration(tools.seconds)}"))
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
            out.print(Text(hanging("        ", note, out.width), style="bold red"))
        for skip in result.skips:
            style = "bold red" if no_skips else "yellow"
            out.print(Text(hanging("        skipped ", f"{skip.test}: {skip.reason}", out.width), style=style))
        if result.part == "unit" and result.seconds > UNIT_BUDGET_SECONDS:
            out.print(Text(f"        slower than its budget of {UNIT_BUDGET_SECONDS:.0f} s", style="yellow"))
    whole = sum(result.seconds for result in results)
    if budget_seconds is not None:
        text = f"in all   {console.duration(whole)}, of {budget_seconds / 60:.0f} min with every tool built"
        out.print(Text(text, style="yellow" if whole > budget_seconds else ""))
    passed = sum(result.passed for result in results)
    failed = sum(result.failed + len(result.notes) for result in results)
    skipped = sum(len(result.skips) for result in results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)


def _files(times: Sequence[Timed]) -> list[str]:
    return list(dict.fromkeys(timing.file for timing in times))


def _print_times(results: Sequence[PartResult]) -> None:
    out = console.results()
    for result in results:
        if not result.times:
            continue
        files = {
            file: [timing.seconds for timing in result.times if timing.file == file] for file in _files(result.times)
        }
        whole = sum(map(sum, files.values()))
        out.print(Text(f"\ntime of {result.part}, by file", style="bold"))
        small = []
        for file, seconds in sorted(files.items(), key=lambda entry: -sum(entry[1])):
            if sum(seconds) < SHOWN_SHARE * whole:
                small.append(sum(seconds))
                continue
            count = f"{len(seconds)} test{'' if len(seconds) == 1 else 's'}"
            out.print(Text(hanging(f"  {console.duration(sum(seconds)):>12}  ", f"{file} ({count})", out.width)))
        if small:
            out.print(f"  {console.duration(sum(small)):>12}  {len(small)} other files")
    slowest = sorted((timing for result in results for timing in result.times), key=lambda timing: -timing.seconds)[
        :SLOWEST_TESTS
    ]
    if slowest:
        out.print(Text("\nslowest tests", style="bold"))
        for timed in slowest:
            out.print(
                Text(hanging(f"  {console.duration(timed.seconds):>12}  ", f"{timed.file}::{timed.test}", out.width))
            )
