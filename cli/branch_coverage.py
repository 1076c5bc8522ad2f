"""How much of the program the unit tests run: `./isthmus test coverage`. coverage.py measures, pyproject.toml holds.

Every process that a test starts with the environment's Python is measured too. A package whose figure falls below its
floor in `[tool.isthmus.coverage]` is a failure; so is one without a floor.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from cli import console

REPOSITORY: Final = Path(__file__).resolve().parent.parent
SETTINGS: Final = REPOSITORY / "pyproject.toml"
SLACK: Final = 1.0
"""A floor that is further than this below its figure, in percent, is told: it may be raised."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How much of a package was run: statements, and branches, the ways out of a statement that has several."""

    package: str
    statements: int
    statements_run: int
    branches: int
    branches_run: int

    @property
    def percent(self) -> float:
        """Statements and branches together, as coverage.py counts."""
        whole = self.statements + self.branches
        return 100 * (self.statements_run + self.branches_run) / whole if whole else 0.0


def environment(directory: Path) -> dict[str, str]:
    """What makes each Python process that is started with it write what it ran into the directory."""
    return {"COVERAGE_PROCESS_START": str(SETTINGS), "COVERAGE_FILE": str(directory / "coverage")}


def floors(settings: Path = SETTINGS) -> dict[str, float]:
    """The percentage below which no package may fall, by package."""
    found = tomllib.loads(settings.read_text(encoding="utf-8"))["tool"]["isthmus"]["coverage"]
    return {package: float(floor) for package, floor in found.items()}


def measured(directory: Path) -> list[Reached]:
    """What the processes wrote into the directory, by package. Raises RuntimeError with what coverage.py said."""
    report = directory / "report.json"
    # Of this checkout alone: tests also run packages of ours from archives and folders that are gone by now.
    ours = f"--include={REPOSITORY}/*"
    for command in (("combine", "--quiet"), ("json", "--quiet", ours, "-o", str(report))):
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *command, f"--data-file={directory / 'coverage'}"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"coverage {command[0]} ended with code {done.returncode}: {done.stdout}{done.stderr}")
    return by_package(json.loads(report.read_text(encoding="utf-8"))["files"])


def by_package(files: Mapping[str, Any]) -> list[Reached]:
    """Sums up the files of coverage.py's JSON report, keyed by their paths from the repository."""
    packages = sorted({Path(file).parts[0] for file in files})
    return [
        Reached(
            package=package,
            statements=_sum(files, package, "num_statements"),
            statements_run=_sum(files, package, "covered_lines"),
            branches=_sum(files, package, "num_branches"),
            branches_run=_sum(files, package, "covered_branches"),
        )
        for package in packages
    ]


def _sum(files: Mapping[str, Any], package: str, key: str) -> int:
    return sum(int(entry["summary"][key]) for file, entry in files.items() if Path(file).parts[0] == package)


def judged(reached: Sequence[Reached], held: Mapping[str, float]) -> list[str]:
    """What is wrong with the figures: a sentence for each package below its floor, without one, or not measured."""
    figures = {share.package: share.percent for share in reached}
    wrong = [
        f"the unit tests run {_tenths(figures[package])} % of {package}, less than its {floor} % in pyproject.toml"
        for package, floor in held.items()
        if package in figures and figures[package] < floor
    ]
    wrong += [f"nothing of {package} was measured" for package in held if package not in figures]
    wrong += [f"pyproject.toml holds no floor for {package}" for package in figures if package not in held]
    return wrong


def print_table(reached: Sequence[Reached], held: Mapping[str, float]) -> None:
    """A line for each package: what was run of its statements and branches, both together, and its floor."""
    out = console.results()
    out.print(Text("\nrun by the unit tests, in percent", style="bold"))
    out.print(Text(f"  {'package':<12}{'statements':>12}{'branches':>12}{'together':>12}{'held':>8}"))
    for counted in reached:
        floor = held.get(counted.package)
        statements = _tenths(100 * counted.statements_run / counted.statements if counted.statements else 0.0)
        branches = _tenths(100 * counted.branches_run / counted.branches if counted.branches else 0.0)
        line = f"  {counted.package:<12}{statements:>12}{branches:>12}{_tenths(counted.percent):>12}"
        rises = floor is not None and counted.percent > floor + SLACK
        out.print(Text(f"{line}{'none' if floor is None else floor:>8}{'  may be raised' if rises else ''}"))


def _tenths(percent: float) -> str:
    """Rounded down: a figure that is shown as its floor has reached it."""
    return f"{math.floor(percent * 10) / 10:.1f}"
