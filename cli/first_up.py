"""`./isthmus benchmark first-up`: the lab raised from nothing again and again, every second time beside other work."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli import console, reporters
from cli.errors import FAILED
from cli.status_text import print_table
from lab import preflight
from lab.first_up import FirstUp, measure

HEADS = ("run", "gzip beside it", "lab up", "load", "lab down", "ended")


def first_up(*, runs: int, busy: int, as_json: bool) -> int:
    """`benchmark first-up`."""
    preflight.require_root("Raising the lab")
    logs = Path(tempfile.mkdtemp(prefix="isthmus-first-up-"))
    found: list[FirstUp] = []
    for run in measure(reporters.reporter(), logs, runs=runs, busy=busy):
        found.append(run)
        # A run takes minutes, and the next one may be ended by somebody: each is kept at once.
        with (logs / "runs.jsonl").open("a", encoding="utf-8") as kept:
            kept.write(json.dumps(run.as_json()) + "\n")
        if run.left:
            break
    if as_json:
        print(json.dumps(as_data(found, runs), indent=2))
    else:
        print_runs(console.results(), found)
    console.messages().print(Text(f"What each run said, and runs.jsonl: {logs}", style="dim"))
    return 0 if passed(found, runs) else FAILED


def passed(found: Sequence[FirstUp], runs: int) -> bool:
    """Whether all of them ran, and ended well."""
    return len(found) == runs and all(run.passed for run in found)


def as_data(found: Sequence[FirstUp], runs: int) -> dict[str, object]:
    """For programs."""
    return {"wanted": runs, "runs": [run.as_json() for run in found], "passed": passed(found, runs)}


def print_runs(out: Console, found: Sequence[FirstUp]) -> None:
    """For people."""
    rows = [
        (
            str(run.number),
            str(run.busy or "none"),
            f"{run.seconds:.0f} s",
            f"{run.load:.0f}",
            f"{run.down_seconds:.0f} s",
            "well" if run.passed else f"codes {run.code} and {run.down_code}, {len(run.left)} things left",
        )
        for run in found
    ]
    print_table(out, HEADS, rows, right=("run", "lab up", "load", "lab down"))
    for run in found:
        if not run.passed:
            out.print(Text(f"run {run.number}: {'; '.join(run.left)}\n{run.said}".strip(), style="bold red"))
