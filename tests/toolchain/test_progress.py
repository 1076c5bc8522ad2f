"""How progress reads."""

from __future__ import annotations

import io

import pytest

from toolchain import Printer, Progress
from toolchain.progress import Reporter, Step, describe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(step: Step, *, completed: int = 0, total: int = 0, message: str = "", tool: str = "etcd") -> Progress:
    return Progress(tool=tool, step=step, seconds=7.4, completed=completed, total=total, message=message)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (event("compile", completed=3, total=565), "etcd: compile 3 of 565 packages (7 s)"),
        (event("compile", total=565), "etcd: compile 0 of 565 packages (7 s)"),
        (event("resolve"), "etcd: resolve (7 s)"),
        (event("resolve", completed=12), "etcd: resolve 12 modules (7 s)"),
        (event("download", completed=5_900_000, total=40_000_000), "etcd: download 5 of 40 MB (7 s)"),
        (event("link", completed=565, total=565), "etcd: link (7 s)"),
        (event("wait", message="for process 7"), "etcd: wait: for process 7 (7 s)"),
        (event("done", message="/cache/etcd"), "etcd: done /cache/etcd (7 s)"),
    ],
)
def test_describe(given: Progress, expected: str) -> None:
    assert describe(given) == expected


def test_a_log_gets_a_line_per_step_and_one_each_half_minute() -> None:
    now = [0.0]
    out = io.StringIO()
    printer = Printer(out, clock=lambda: now[0])
    for seconds, given in [
        (0, event("compile", completed=1, total=9)),
        (10, event("compile", completed=2, total=9)),
        (31, event("compile", completed=3, total=9)),
        (32, event("compile", completed=4, total=9)),
        (33, event("link")),
        (34, event("done")),
    ]:
        now[0] = seconds
        printer(given)
    printer.close()
    assert out.getvalue().splitlines() == [
        "etcd: compile 1 of 9 packages (7 s)",
        "etcd: compile 3 of 9 packages (7 s)",
        "etcd: link (7 s)",
        "etcd: done (7 s)",
    ]


def test_a_terminal_gets_one_line_that_renews_itself() -> None:
    out = Terminal()
    printer = Printer(out)
    printer(event("compile", completed=1, total=9))
    printer(event("done"))
    printer(event("compile", completed=2, total=9, tool="coredns"))
    printer.close()
    printer.close()
    assert out.getvalue() == (
        "\r\x1b[2Ketcd: compile 1 of 9 packages (7 s)"
        "\r\x1b[2Ketcd: done (7 s)\n"
        "\r\x1b[2Kcoredns: compile 2 of 9 packages (7 s)\n"
    )


def test_a_reporter_measures_from_its_making() -> None:
    times = iter([100.0, 103.5])
    heard: list[Progress] = []
    Reporter("etcd", heard.append, clock=lambda: next(times))("link", "now", completed=2, total=3)
    assert heard == [Progress(tool="etcd", step="link", seconds=3.5, completed=2, total=3, message="now")]
