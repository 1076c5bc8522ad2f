"""How long the tools will take to build, said before they are, and how much of it is left while they are.

The table is of one measured run; the machine at hand corrects it as soon as it has worked for a while. An estimate,
not a promise: of a build that finds packages in Go's own cache nobody knows beforehand how many.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from toolchain.making import ready_path
from toolchain.progress import Progress, Report, in_words
from toolchain.recipes import RECIPES

COLD_BUILD_SECONDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "pulumi": 375.0,
        "pulumi-language-python": 105.0,
        "pulumi-resource-kubernetes": 373.0,
        "pulumi-resource-hcloud": 135.0,
        "pulumi-resource-command": 20.0,
        "netbird-operator": 79.0,
        "kubernetes": 227.0,
        "etcd": 20.0,
        "coredns": 120.0,
        "netbird": 57.0,
        "netbird-server": 116.0,
        "cilium": 298.0,
    }
)
"""Each tool built from nothing, in this order, so that later ones find packages of earlier ones (docs/evidence.md)."""
MEASURED_ON: Final = "2026-11-26"
MEASURED_CORES: Final = 2

_TRUSTED_SECONDS: Final = 600.0
"""The table weighs as much as so much work done here: a machine that is busy for a minute is not a slow one."""


@dataclass
class Remaining:
    """How much of the work on some tools is left. It is told of every event, in the order in which they come."""

    names: Sequence[str]
    """Those that are not ready, in the order of their making."""
    _shares: dict[str, float] = field(default_factory=dict)
    """How much of each begun tool is done, from 0 to 1."""
    _seconds: dict[str, float] = field(default_factory=dict)
    """What each tool that was compiled has taken so far."""

    def hear(self, event: Progress) -> None:
        """Takes an event in; those of other work say nothing."""
        if event.tool not in self.names:
            return
        share = self._shares.get(event.tool, 0.0)
        if event.step == "compile":
            share = max(share, event.completed / event.total if event.total else 0.0)
            self._seconds[event.tool] = event.seconds
        elif event.step == "done":
            share = 1.0
        if event.tool in self._seconds:
            self._seconds[event.tool] = event.seconds
        self._shares[event.tool] = share

    @property
    def pace(self) -> float:
        """What a second of the table takes here, by the tools that were compiled: a downloaded one proves nothing."""
        by_table = sum(COLD_BUILD_SECONDS[name] * self._shares[name] for name in self._seconds)
        return (sum(self._seconds.values()) + _TRUSTED_SECONDS) / (by_table + _TRUSTED_SECONDS)

    @property
    def seconds(self) -> float:
        """What is left, as far as can be told."""
        left = sum(COLD_BUILD_SECONDS[name] * (1.0 - self._shares.get(name, 0.0)) for name in self.names)
        return left * self.pace


def missing(names: Sequence[str] = tuple(RECIPES)) -> list[str]:
    """The tools among ``names`` that are not ready, in the order in which they are given."""
    return [name for name in names if ready_path(RECIPES[name]) is None]


def foretold(names: Sequence[str]) -> str:
    """What is said before the tools of these names, all of them missing, are made."""
    seconds = sum(COLD_BUILD_SECONDS[name] for name in names)
    here, them = ("1 tool is", "it") if len(names) == 1 else (f"{len(names)} tools are", "all of them")
    cores = os.cpu_count() or 1
    other = "" if cores == MEASURED_CORES else f"; this machine has {cores}"
    return (
        f"{here} not here yet. To build {them} from source takes {in_words(seconds)} on {MEASURED_CORES} cores "
        f"(measured {MEASURED_ON}{other}), once; what can be downloaded, or is compiled already, takes less."
    )


def counted(names: Sequence[str], report: Report) -> Report:
    """A report that says with each event of a missing tool which one of them it is, and how much of all is left."""
    remaining = Remaining(missing(names))
    places = {name: place for place, name in enumerate(remaining.names, start=1)}

    def told(event: Progress) -> None:
        remaining.hear(event)
        place = places.get(event.tool)
        if place is not None:
            left = None if event.step == "done" and place == len(places) else remaining.seconds
            event = replace(event, tool=f"{event.tool} ({place} of {len(places)})", left_seconds=left)
        report(event)

    return told
