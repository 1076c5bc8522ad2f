"""`./isthmus benchmark failover`: how long the link is away when something happens to a router."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from cli import console, reporters
from cli.errors import FAILED, cannot
from cli.status_text import print_table
from lab import env as lab_env
from lab import sites as lab_sites
from lab import up as lab_up
from lab.failover.gaps import Row, rows
from lab.failover.run import Bench, measure
from lab.faults import FAULTS

PLACES = {"router": "on that router", "other-router": "on the other router", "third": "on a third node"}
HEADS = ("fault", "router of", "pod", "direction", "path", "traffic", "runs", "median", "worst")
KINDS = {"udp": "UDP", "tcp": "new TCP", "kept": "kept TCP"}


def failover(
    *, names: Sequence[str], runs: int, pair: tuple[str, str], at: Sequence[str], watch_seconds: float, as_json: bool
) -> int:
    """`benchmark failover`."""
    lab_env.require_lab()
    lab = lab_sites.of_lab()
    known = [site.name for site in lab.sites]
    wrong = [
        f"--fault {name}: there is none of that name, there are: {', '.join(FAULTS)}."
        for name in names
        if name not in FAULTS
    ]
    wrong += [
        f"--between {name}: there is no such cluster, there are: {', '.join(known)}."
        for name in pair
        if name not in known
    ]
    wrong += [
        f"--at {name} is none of {' and '.join(pair)}, between which is measured." for name in at if name not in pair
    ]
    if len(set(pair)) < len(pair):
        wrong.append("--between names one cluster twice.")
    if wrong:
        cannot("\n".join(wrong))
    bench = Bench(
        lab=lab,
        tools=lab_up.tools_of_person(),
        reporter=reporters.reporter(),
        pair=pair,
        watch_seconds=watch_seconds,
    )
    chosen = [FAULTS[name] for name in names or FAULTS]
    found = rows(measure(bench, chosen, runs=runs, at=at or pair))
    if as_json:
        print(json.dumps(as_data(found, watch_seconds), indent=2))
    else:
        print_rows(console.results(), found)
    return FAILED if any(row.worst.open for row in found) else 0


def as_data(found: Sequence[Row], watch_seconds: float) -> dict[str, object]:
    """The whole result for programs; see docs/lab.md."""
    return {"watch_seconds": watch_seconds, "rows": [row.as_json() for row in found]}


def print_rows(out: Console, found: Sequence[Row]) -> None:
    """A line for each row; what is not back within the watch is red."""
    cells = [
        (
            FAULTS[row.fault].title,
            row.cluster,
            PLACES[row.placement],
            f"{row.source} → {row.target}",
            row.path,
            KINDS[row.kind],
            str(row.runs),
            f"{row.median} s",
            Text(f"{row.worst} s", style="bold red" if row.worst.open else ""),
        )
        for row in found
    ]
    print_table(out, HEADS, cells, right=HEADS[-3:])
