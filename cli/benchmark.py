"""`./isthmus benchmark preview`: what a preview of a converged stack costs over one of an empty program.

Both run with the same engine, virtual environment and network, in turns and in one go, so that what else the machine
does falls on both. Measuring is separate from judging: :func:`compare` is pure.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from rich.text import Text

from cli import console, reporters
from cli.errors import FAILED
from cli.status_text import print_table
from cli.tables import wrapped
from lab import env as lab_env
from lab import project
from lab import up as lab_up
from lab.errors import CommandFailed
from lab.project import Tools

AT_MOST: Final = 3.0
"""How many times as long as the preview of an empty program that of a stack may take."""
EMPTY: Final = "empty"
EMPTY_PROGRAM: Final = '"""Nothing."""\n\nimport pulumi  # noqa: F401\n'
DEADLINE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Durations:
    """What the runs of one side took, in seconds."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Durations:
        """Of at least one run."""
        return cls(min(seconds), statistics.median(seconds), max(seconds))


@dataclass(frozen=True)
class Comparison:
    """A stack's preview over that of an empty program. ``ratio`` is that of the medians."""

    stack: str
    runs: int
    empty_seconds: Durations
    stack_seconds: Durations
    ratio: float
    at_most: float

    @property
    def passed(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.ratio <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "passed": self.passed}


def compare(stack: str, empty: Sequence[float], of_stack: Sequence[float], *, at_most: float = AT_MOST) -> Comparison:
    """Judges durations in seconds; ValueError without at least one of each, or with one that is not positive."""
    if not empty or len(empty) != len(of_stack):
        raise ValueError(f"{len(empty)} and {len(of_stack)} durations; both sides need the same number, at least one")
    if min(*empty, *of_stack) <= 0:
        raise ValueError("a duration is not positive")
    sides = Durations.of(empty), Durations.of(of_stack)
    return Comparison(stack, len(empty), *sides, ratio=sides[1].median / sides[0].median, at_most=at_most)


def in_turns(
    sides: Mapping[str, Callable[[], object]], runs: int, *, clock: Callable[[], float] = time.monotonic
) -> dict[str, list[float]]:
    """Seconds that each side takes, in turns; a first round, which fills caches, does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(runs + 1):
        for name, run in sides.items():
            start = clock()
            run()
            if round_:
                taken[name].append(clock() - start)
    return taken


def preview(*, stack: str, runs: int, at_most: float, as_json: bool) -> int:
    """`benchmark preview`."""
    lab_env.require_lab()
    tools = lab_up.tools_of_person()
    reporter = reporters.reporter()
    with _empty_program(tools) as empty:
        sides = {
            EMPTY: lambda: _run(tools, ["-C", str(empty), "preview", "-s", EMPTY], _environment(tools, empty)),
            # A plan with changes is no measure: it does other work.
            stack: lambda: _run(
                tools,
                ["-C", str(project.directory()), "preview", "-s", stack, "--expect-no-changes"],
                project.environment(tools),
            ),
        }
        with reporter.step(f"{runs + 1} previews of an empty program and of {stack}, in turns"):
            taken = in_turns(sides, runs)
    found = compare(stack, taken[EMPTY], taken[stack], at_most=at_most)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        print_comparison(found)
    return 0 if found.passed else FAILED


@contextmanager
def _empty_program(tools: Tools) -> Iterator[Path]:
    """A project whose program does nothing, with the runtime options and the virtual environment of ours."""
    project.temporary_directory().mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="empty-program-", dir=project.temporary_directory()))
    try:
        ours = yaml.safe_load((project.directory() / "Pulumi.yaml").read_text(encoding="utf-8"))
        (directory / "Pulumi.yaml").write_text(yaml.safe_dump({"name": EMPTY, "runtime": ours["runtime"]}))
        (directory / "__main__.py").write_text(EMPTY_PROGRAM)
        (directory / ".venv").symlink_to((project.directory() / ".venv").resolve())
        (directory / "backend").mkdir()
        _run(tools, ["-C", str(directory), "stack", "init", EMPTY], _environment(tools, directory))
        yield directory
    finally:
        shutil.rmtree(directory)


def _environment(tools: Tools, empty: Path) -> dict[str, str]:
    return {**project.environment(tools), "PULUMI_BACKEND_URL": f"file://{empty}/backend"}


def _run(tools: Tools, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    command = [str(tools.pulumi_bin / "pulumi"), *arguments, "--non-interactive", "--color", "never"]
    done = subprocess.run(
        project.at_workstation(command),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_SECONDS,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        hint = " The stack has to be raised and without changes." if "--expect-no-changes" in arguments else ""
        raise CommandFailed(f"`pulumi {shlex.join(arguments)}` ended with code {done.returncode}.{hint}\n{said}")


def print_comparison(found: Comparison) -> None:
    """For people."""
    out = console.results()
    sides = ((f"stack {found.stack}", found.stack_seconds), ("an empty program", found.empty_seconds))
    rows = [(name, *(f"{value:.2f}" for value in (side.minimum, side.median, side.maximum))) for name, side in sides]
    print_table(out, ("seconds of", "min", "median", "max"), rows, right=("min", "median", "max"))
    verdict = f"{found.ratio:.2f} times an empty program; at most {found.at_most:g} are allowed"
    lines = wrapped(f"{verdict} ({found.runs} runs, {os.cpu_count()} CPUs)", out.width)
    out.print(Text("\n".join(lines), style="green" if found.passed else "bold red"))
