"""Which test runs when. `./isthmus test` takes what has no marker ``thorough``; `./isthmus test --thorough` takes all.

The marker stands at the test, beside the case of it that always runs. This module is also the plugin with which pytest
tells what it has collected, for `./isthmus test --list`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from cli import console
from cli.tables import hanging, wrapped

if TYPE_CHECKING:
    import pytest

REPOSITORY: Final = Path(__file__).resolve().parent.parent
THOROUGH: Final = "thorough"
BUDGET_SECONDS: Final = 35 * 60.0
"""Of `./isthmus test` on 2 cores where every tool is built."""
THOROUGH_BUDGET_SECONDS: Final = 90 * 60.0
MARKERS: Final = {"unit": "not engine and not link", "engine": "engine", "link": "link"}
"""What selects the tests of a part."""
_TARGET: Final = "ISTHMUS_TESTS_COLLECTED"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A test by its part and tier."""

    test: str
    part: str
    thorough: bool

    @property
    def file(self) -> str:
        """The file that it stands in."""
        return self.test.partition("::")[0]


def selection(part: str, *, thorough: bool) -> str:
    """The marker expression that selects the tests of a part."""
    return MARKERS[part] if thorough else f"({MARKERS[part]}) and not {THOROUGH}"


def collected(*arguments: str) -> list[Listed]:
    """All tests in the order in which they run. ``arguments`` are pytest's. Raises RuntimeError with what it said."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "collected.json"
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), _TARGET: str(target)}
        # Compiled modules are kept: pytest's own of the tests' assertions are half of what a list takes.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "cli.tiers", "--collect-only", "-q", *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0 or not target.is_file():
            raise RuntimeError(f"pytest ended with code {done.returncode}:\n{done.stdout}{done.stderr}")
        return [Listed(**record) for record in json.loads(target.read_text(encoding="utf-8"))]


def pytest_collection_finish(session: pytest.Session) -> None:
    """As a plugin of pytest: writes down what was collected."""
    found = [
        Listed(
            test=item.nodeid,
            part=next((part for part in ("link", "engine") if item.get_closest_marker(part)), "unit"),
            thorough=item.get_closest_marker(THOROUGH) is not None,
        )
        for item in session.items
    ]
    Path(os.environ[_TARGET]).write_text(json.dumps([asdict(test) for test in found]), encoding="utf-8")


def print_list(tests: Sequence[Listed]) -> None:
    """A line for each file with how many of its tests always run and how many do not, which it then names."""
    out = console.results()
    always, rest = (
        Counter((test.part, test.file) for test in tests if test.thorough is kind) for kind in (False, True)
    )
    for part in MARKERS:
        files = list(dict.fromkeys(test.file for test in tests if test.part == part))
        counts = [sum(count for (of, _), count in tier.items() if of == part) for tier in (always, rest)]
        title = f"\n{part}: {counts[0]} tests in `./isthmus test`, {counts[1]} more with --thorough"
        out.print(Text("\n".join(wrapped(title, out.width)), style="bold"))
        for file in files:
            more = f"  + {rest[part, file]}" if rest[part, file] else ""
            out.print(Text(hanging(f"  {always[part, file]:>5}  ", f"{file}{more}", out.width)))
    out.print(Text("\nonly with --thorough", style="bold"))
    for case in tests:
        if case.thorough:
            out.print(Text(hanging("  ", case.test, out.width)))
