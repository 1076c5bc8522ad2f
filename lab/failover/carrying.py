"""Which routers carry a direction: those whose wt0 the packets go through, by counting. No part of the link is asked.

Each side chooses for itself: which own router its packets leave by, and which of the peer's they are sent to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domain.overlay import NETBIRD_INTERFACE
from lab import machines
from lab.errors import LabError
from lab.failover.probing import Flow, Probing

COUNT_SECONDS: Final = 1.5
"""Some 100 packets a second and flow go by."""
ALONE: Final = 5.0
"""How many times as many packets as any other router the one has that carries: the others have their keepalives."""

_COUNTERS: Final = (
    f"cat /sys/class/net/{NETBIRD_INTERFACE}/statistics/rx_packets "
    f"/sys/class/net/{NETBIRD_INTERFACE}/statistics/tx_packets 2>/dev/null || echo 0"
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """The routers of a direction, by their nodes."""

    source: str
    target: str


def way(probing: Probing, flows: Sequence[Flow], *, own: Sequence[str], peers: Sequence[str]) -> Way:
    """The routers that these flows of one direction come by, of the nodes of both sides. All other flows are stopped.

    Raises :class:`LabError` when no single one has them.
    """
    probing.stop()
    probing.start(flows)
    time.sleep(COUNT_SECONDS / 3)
    before = _counters([*own, *peers])
    time.sleep(COUNT_SECONDS)
    after = _counters([*own, *peers])
    counted = {node: after[node] - before[node] for node in before}
    return Way(
        source=busiest({node: counted[node] for node in own}), target=busiest({node: counted[node] for node in peers})
    )


def busiest(counted: Mapping[str, int]) -> str:
    """The node that has the packets; LabError when there is none, or more than one. Pure."""
    ordered = sorted(counted, key=lambda node: counted[node], reverse=True)
    first = counted[ordered[0]]
    second = counted[ordered[1]] if len(ordered) > 1 else 0
    if first <= 0 or first < ALONE * max(second, 0):
        told = ", ".join(f"{node} {counted[node]}" for node in ordered)
        raise LabError(f"no single router carries the packets of one direction; packets on {NETBIRD_INTERFACE}: {told}")
    return ordered[0]


def _counters(nodes: Sequence[str]) -> dict[str, int]:
    return {
        node: sum(map(int, machines.exec(node, ["sh", "-c", _COUNTERS], check=True).stdout.split())) for node in nodes
    }
