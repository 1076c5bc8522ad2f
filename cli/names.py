"""`./isthmus benchmark names`: what names and ClusterIPs of the other cluster cost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from cli import console, reporters
from cli.errors import FAILED
from lab import env as lab_env
from lab import sites as lab_sites
from lab import up as lab_up
from lab.names import LOCAL_RATIO, THROUGHPUT_RATIO, Names, Rates, as_data, measure, passed

PLACES = {"router": "on the router", "other": "on another node"}


def names(*, runs: int, as_json: bool) -> int:
    """`benchmark names`."""
    lab_env.require_lab()
    found = measure(lab_sites.of_lab(), lab_up.tools_of_person(), reporters.reporter(), runs=runs)
    if as_json:
        print(json.dumps(as_data(*found), indent=2))
    else:
        for table in tables(*found):
            console.results().print(table)
    return 0 if passed(*found) else FAILED


def tables(rates: Sequence[Rates], found: Sequence[Names]) -> tuple[Table, Table]:
    """Throughput and names, a line for each row; what is beyond its limit is red."""
    throughput = _table("direction", numbers=("runs", "pod to pod", "ClusterIP", f"ratio (≥ {THROUGHPUT_RATIO:g})"))
    for rate in rates:
        throughput.add_row(
            f"{rate.source} → {rate.target}",
            str(rate.runs),
            *(f"{bits / 1e9:.2f} Gbit/s" for bits in (rate.pod, rate.cluster_ip)),
            _judged(f"{rate.ratio:.3f}", rate.passed),
        )
    of_names = _table(
        *("direction", "pod"),
        numbers=("runs", "local", "tunnel", "remote", f"limit ({LOCAL_RATIO:g} x local + tunnel)"),
    )
    for direction in found:
        of_names.add_row(
            f"{direction.source} → {direction.target}",
            PLACES[direction.placement],
            str(direction.runs),
            f"{direction.local_ms:.2f} ms",
            f"{direction.trip_ms:.2f} ms",
            _judged(f"{direction.remote_ms:.2f} ms", direction.passed),
            f"{direction.limit_ms:.2f} ms",
        )
    return throughput, of_names


def _table(*columns: str, numbers: Sequence[str]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, no_wrap=True)
    for column in numbers:
        made.add_column(column, no_wrap=True, justify="right")
    return made


def _judged(text: str, good: bool) -> Text:
    return Text(text, style="" if good else "bold red")
