"""How long `./isthmus plan` takes: against importing pydantic and parsing the same YAML alone, and for large fleets.

    python -m tests.benchmark_plan [--json]

The first figure is of whole processes, in turn, the best of several; the start of the interpreter counts on both
sides. The second is of one process: reading and checking fleets up to 1,000 clusters, where each cluster has two peers.
Both are judged by the time of the processor, so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from domain.fleet import check_fleet, parse_fleet
from domain.plan_report import fleet_report
from tests.domain.samples import MN, changed, text

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FILES: Final = 50
RATIO_LIMIT: Final = 3.0
SIZES: Final = (125, 250, 500, 1000)
GROWTH_TOLERANCE: Final = 1.4
"""A run may be that much slower than n log n says, since a busy machine is never quiet."""

ALONE: Final = """
import sys, pathlib, yaml
from pydantic import BaseModel
for path in sorted(pathlib.Path(sys.argv[1]).glob("Pulumi.*.yaml")):
    yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
"""
"""The other side: with the fast parser, which is the harder comparison."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of whole processes, of the processor and on the clock, the best of all rounds."""

    files: int
    plan_seconds: float
    alone_seconds: float
    ratio: float
    plan_clock_seconds: float
    alone_clock_seconds: float
    clock_ratio: float
    limit: float


@dataclass(frozen=True)
class Growth:
    """Seconds for each size, and how much slower the largest is than n log n says from the smallest."""

    seconds: dict[int, float]
    over_n_log_n: float
    limit: float


def fleet_files(count: int, *, conflicts: bool = False) -> dict[str, str]:
    """A fleet of clusters in a ring; with ``conflicts`` all of them have the same ranges."""
    names = [f"c{number}" for number in range(count)]
    pods = IPv4Network("10.0.0.0/8").subnets(new_prefix=20)
    lans = IPv4Network("172.16.0.0/12").subnets(new_prefix=24)
    files = {}
    for number, name in enumerate(names):
        pod, service, lan = next(pods), next(pods), next(lans)
        if conflicts:
            pod, service = IPv4Network("10.0.0.0/20"), IPv4Network("10.0.16.0/20")
        hosts = lan.hosts()
        changes: dict[str, Any] = {
            "network.pod_cidr": str(pod),
            "network.service_cidr": str(service),
            "network.node_cidr": str(lan),
            "network.dns_zone": f"{name}.internal",
            "on_premise.machines.0.address": str(next(hosts)),
            "on_premise.machines.1.address": str(next(hosts)),
            "peers": sorted({names[number - 1], names[(number + 1) % count]} - {name}),
        }
        files[name] = text(changed(MN, changes))
    return files


def seconds_of(command: list[str]) -> tuple[float, float]:
    """What a process takes that has to end well: of the processor, and on the clock."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def compare(*, files: int = FILES, rounds: int = 7) -> Comparison:
    """The plan of that many stack files against pydantic and YAML alone."""
    with tempfile.TemporaryDirectory() as name:
        for stack, content in fleet_files(files).items():
            (Path(name) / f"Pulumi.{stack}.yaml").write_text(content, encoding="utf-8")
        plan = [sys.executable, "-m", "cli", "plan", "--directory", name]
        alone = [sys.executable, "-c", ALONE, name]
        rows = [(*seconds_of(plan), *seconds_of(alone)) for _ in range(rounds)]
    plan_cpu, plan_clock, alone_cpu, alone_clock = (round(min(column), 3) for column in zip(*rows, strict=True))
    return Comparison(
        files=files,
        plan_seconds=plan_cpu,
        alone_seconds=alone_cpu,
        ratio=round(plan_cpu / alone_cpu, 2),
        plan_clock_seconds=plan_clock,
        alone_clock_seconds=alone_clock,
        clock_ratio=round(plan_clock / alone_clock, 2),
        limit=RATIO_LIMIT,
    )


def grow(
    make: Callable[[int], dict[str, str]] = fleet_files, *, sizes: Sequence[int] = SIZES, rounds: int = 3
) -> Growth:
    """Reading, checking and reporting fleets of each size."""
    seconds: dict[int, float] = {}
    for size in sizes:
        files = make(size)
        seconds[size] = min(_plan_seconds(files) for _ in range(rounds))
    first, last = sizes[0], sizes[-1]
    expected = (last * math.log(last)) / (first * math.log(first))
    over = seconds[last] / seconds[first] / expected
    return Growth({size: round(value, 3) for size, value in seconds.items()}, round(over, 2), GROWTH_TOLERANCE)


def _plan_seconds(files: dict[str, str]) -> float:
    start = time.process_time()
    fleet = parse_fleet(files)
    if not check_fleet(fleet):
        json.dumps(fleet_report(fleet.stacks).as_json())
    return time.process_time() - start


def main() -> int:
    """The command; exit code 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark_plan", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    comparison = compare()
    growth = grow()
    conflicts = grow(lambda count: fleet_files(count, conflicts=True))
    good = comparison.ratio <= RATIO_LIMIT and max(growth.over_n_log_n, conflicts.over_n_log_n) <= GROWTH_TOLERANCE
    if arguments.json:
        found = {
            "comparison": asdict(comparison),
            "growth": asdict(growth),
            "conflicts": asdict(conflicts),
            "good": good,
        }
        print(json.dumps(found, indent=2))
        return 0 if good else 1
    print(
        f"plan of {comparison.files} stack files: {comparison.plan_seconds} s; pydantic and YAML alone: "
        f"{comparison.alone_seconds} s; {comparison.ratio} times as long (at most {RATIO_LIMIT}; on the clock "
        f"{comparison.plan_clock_seconds} s and {comparison.alone_clock_seconds} s, {comparison.clock_ratio} times)"
    )
    for name, growing in (("right fleets", growth), ("fleets where all collide", conflicts)):
        times = ", ".join(f"{size} in {seconds} s" for size, seconds in growing.seconds.items())
        print(f"{name}: {times}; {growing.over_n_log_n} times n log n (at most {GROWTH_TOLERANCE})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
