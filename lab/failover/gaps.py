"""From the times of answers to gaps, and from the gaps of many runs to rows. Pure: no clock, no cluster.

A gap is the longest time between two answers, or from the last one to the end of the watch: then it is open, and its
seconds are only the least that it can be. All times are seconds of one clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

Placement = Literal["router", "other-router", "third"]
"""Where the pod of the cluster with the fault stands: on the router that it happens to, on another router, on a node
that is no router."""
PLACEMENTS: Final[tuple[Placement, ...]] = ("router", "other-router", "third")
Kind = Literal["udp", "tcp", "kept"]
"""Packets, new connections, messages on a connection that stays as long as it can."""
KINDS: Final[tuple[Kind, ...]] = ("udp", "tcp", "kept")
Path = Literal["direct", "relayed", "down"]

CALM_SECONDS: Final = 1.0
"""No answer for so long at the end of the watch: the gap is open. Answers come 20 times a second."""


@dataclass(frozen=True, order=True)
class Gap:
    """The longest time without an answer."""

    seconds: float
    open: bool = False
    """It had not ended when the watch did."""

    def __str__(self) -> str:
        return f"{'> ' if self.open else ''}{self.seconds:.2f}"


def longest_gap(answers: Iterable[float], *, begin: float, end: float) -> Gap:
    """The longest time without an answer that ends after ``begin``, the moment of the fault, up to ``end``.

    One that began before counts in full: an answer on its way while the fault is made belongs to the time before it.
    ValueError when no answer came before ``begin``: then nothing was measured.
    """
    times = sorted(answers)
    before = [time for time in times if time <= begin]
    if not before:
        raise ValueError("no answer came before the fault")
    after = [time for time in times if begin < time <= end]
    steps = [before[-1], *after]
    between = max((later - earlier for earlier, later in pairwise(steps)), default=0.0)
    at_the_end = end - steps[-1]
    if at_the_end >= max(between, CALM_SECONDS):
        return Gap(at_the_end, open=True)
    return Gap(max(between, at_the_end))


def is_calm(answers: Sequence[float], *, now: float, seconds: float) -> bool:
    """Whether answers have come without a pause worth the name for so long."""
    steps = [now - seconds, *(time for time in sorted(answers) if now - seconds <= time <= now), now]
    return all(later - earlier < CALM_SECONDS for earlier, later in pairwise(steps))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one flow saw of one fault."""

    fault: str
    cluster: str
    """With the fault."""
    router: str
    """The node that it happened to."""
    placement: Placement
    source: str
    target: str
    """Clusters: who asks, who answers."""
    kind: Kind
    path: Path
    run: int
    gap: Gap
    failures: int = 0
    """New connections that were not made, or how often the one that stays broke and was made anew."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """All runs of a fault at a cluster, for a placement, a direction and a kind of traffic."""

    fault: str
    cluster: str
    placement: Placement
    source: str
    target: str
    kind: Kind
    path: Path
    runs: int
    median: Gap
    worst: Gap
    gaps: tuple[Gap, ...]
    failures: int

    def as_json(self) -> dict[str, Any]:
        """For programs; seconds to the millisecond. ``median_is_least`` and ``worst_is_least``: it may be more."""
        return {
            **{name: getattr(self, name) for name in KEY},
            "runs": self.runs,
            "median_seconds": round(self.median.seconds, 3),
            "median_is_least": self.median.open,
            "worst_seconds": round(self.worst.seconds, 3),
            "worst_is_least": self.worst.open,
            "not_back": sum(gap.open for gap in self.gaps),
            "seconds": [round(gap.seconds, 3) for gap in self.gaps],
            "failures": self.failures,
        }


KEY: Final = ("fault", "cluster", "placement", "source", "target", "kind", "path")
"""What makes a row."""


def rows(samples: Iterable[Sample]) -> list[Row]:
    """A row for each fault, cluster, placement, direction, kind and path, in the order of their first samples."""
    grouped: dict[tuple[str, ...], list[Sample]] = {}
    for sample in samples:
        key = tuple(str(getattr(sample, name)) for name in KEY)
        grouped.setdefault(key, []).append(sample)
    return [_row(of_row) for of_row in grouped.values()]


def _row(of_row: Sequence[Sample]) -> Row:
    gaps = tuple(sample.gap for sample in of_row)
    first = of_row[0]
    return Row(
        fault=first.fault,
        cluster=first.cluster,
        placement=first.placement,
        source=first.source,
        target=first.target,
        kind=first.kind,
        path=first.path,
        runs=len(gaps),
        median=median(gaps),
        worst=worst(gaps),
        gaps=gaps,
        failures=sum(sample.failures for sample in of_row),
    )


def median(gaps: Sequence[Gap]) -> Gap:
    """The median; where an open gap lies in the middle, or above it, no more than the least that it can be is known."""
    ordered = sorted(gap.seconds for gap in gaps)
    value = statistics.median(ordered)
    # An open gap that is shorter than the median may in truth be longer than it, which moves the median up.
    return Gap(value, open=any(gap.open and gap.seconds <= value for gap in gaps))


def worst(gaps: Sequence[Gap]) -> Gap:
    """The longest; open as soon as any is."""
    return Gap(max(gap.seconds for gap in gaps), open=any(gap.open for gap in gaps))
