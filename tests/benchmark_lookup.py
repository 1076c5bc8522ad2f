"""What a preview takes longer for asking Hetzner's API: the program as it is and one that does not ask, in turns.

    python -m tests.benchmark_lookup [--pairs 15] [--json]

Both are whole previews of de by the real engine, from nothing, against the Hetzner stand-in; each pair gives a
difference, and the median of them is judged. The processor's time is given as well: other work counts little there.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from lab.standins.hetzner_api.backend import MemoryBackend
from tests.domain.samples import DE, MN, changed
from tests.engine.project import REPOSITORY, Engine, Project
from tests.lab.hetzner_api.conftest import StandIn

LIMIT_SECONDS: Final = 0.3
PAIRS: Final = 15
STACK: Final = "de"
ASKS: Final = "        await refuse_what_hetzner_lacks(configuration, plan)\n"
"""The line of the program that asks."""


@dataclass(frozen=True)
class Seconds:
    """Of a whole preview: on the clock, and of the processor."""

    clock: float
    processor: float


@dataclass(frozen=True)
class Added:
    """Medians, in seconds. ``added_*`` are those of the differences, pair by pair."""

    pairs: int
    asking_clock: float
    silent_clock: float
    added_clock: float
    added_processor: float
    limit: float = LIMIT_SECONDS

    @property
    def good(self) -> bool:
        """Whether asking costs no more than it may."""
        return self.added_clock <= self.limit


def judged(asking: Sequence[Seconds], silent: Sequence[Seconds]) -> Added:
    """Of previews in pairs; ValueError without at least one pair."""
    if not asking:
        raise ValueError("no pair")
    pairs = list(zip(asking, silent, strict=True))
    return Added(
        pairs=len(pairs),
        asking_clock=round(statistics.median(seconds.clock for seconds in asking), 3),
        silent_clock=round(statistics.median(seconds.clock for seconds in silent), 3),
        added_clock=round(statistics.median(first.clock - second.clock for first, second in pairs), 3),
        added_processor=round(statistics.median(first.processor - second.processor for first, second in pairs), 3),
    )


def measure(pairs: int) -> Added:
    """Runs the previews; a first pair, which fills caches, does not count. Each begins as often as the other."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        engine = Engine.start(directory)
        hetzner = StandIn(directory / "hetzner", MemoryBackend())
        try:
            asking = _project(engine, directory / "asking", hetzner.endpoint)
            silent = _project(engine, directory / "silent", hetzner.endpoint)
            program = (REPOSITORY / "__main__.py").read_text(encoding="utf-8")
            if program.count(ASKS) != 1:
                raise RuntimeError(f"__main__.py has not the line {ASKS.strip()!r}")
            (silent.directory / "__main__.py").unlink()
            (silent.directory / "__main__.py").write_text(program.replace(ASKS, "        pass\n"), encoding="utf-8")
            taken: dict[Project, list[Seconds]] = {asking: [], silent: []}
            for number in range(pairs + 1):
                for project in (asking, silent) if number % 2 else (silent, asking):
                    seconds = _timed(lambda project=project: project.run("preview", "-s", STACK).expect(0))  # type: ignore[misc]
                    if number:
                        taken[project].append(seconds)
        finally:
            hetzner.stop()
    return judged(taken[asking], taken[silent])


def _project(engine: Engine, root: Path, endpoint: str) -> Project:
    project = Project(engine, root)
    project.write(STACK, changed(DE, {"hcloud:endpoint": endpoint}))
    project.write("mn", MN)
    project.init(STACK)
    return project


def _timed(run: Callable[[], object]) -> Seconds:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run()
    clock, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> int:
    """The command; exit code 1 when asking takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark_lookup", description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help="previews of each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.pairs < 1:
        parser.error("--pairs: at least 1")
    found = measure(arguments.pairs)
    if arguments.json:
        print(json.dumps({**asdict(found), "good": found.good}, indent=2))
    else:
        print(
            f"a preview that asks Hetzner's API: {found.asking_clock} s; one that does not: {found.silent_clock} s; "
            f"{found.added_clock} s more, of the processor {found.added_processor} s, by {found.pairs} pairs "
            f"(at most {found.limit} s)"
        )
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
