"""Two routers a cluster: something happens to the one that carries, and pods are answered again within seconds.

What is measured is what `./isthmus benchmark failover` measures, once each: from pods on the router, on the other one
and on a third node, in both directions, UDP and new connections. The lab gets its second routers here and keeps them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.commands import wait_until
from lab.failover import pods
from lab.failover.gaps import Sample, longest_gap
from lab.failover.run import Bench, one_run, router_nodes, standing_pods
from lab.faults import FAULTS
from lab.project import Tools
from lab.reporting import Silent
from lab.sites import of_lab
from tests.link.assertions import in_health
from tests.link.nats import Client, supercluster

pytestmark = [pytest.mark.link, pytest.mark.thorough, pytest.mark.timeout(900)]

ISTHMUS = Path(__file__).resolve().parents[2] / "isthmus"
UP_SECONDS: Final = 1200
HEALTHY_SECONDS: Final = 150.0
LIMITS: Final = {"agent-killed": 2.0, **dict.fromkeys(set(FAULTS) - {"agent-killed"}, 5.0)}
"""Seconds without an answer, by fault."""
NATS_SECONDS: Final = 5.0
PLACES: Final = {"router", "other-router", "third"}


@pytest.fixture(scope="module")
def bench(tools: Tools) -> Iterator[Bench]:
    """A lab of two routers a cluster in health, with a probe pod on every node."""
    done = subprocess.run(
        [str(ISTHMUS), "lab", "up", "--routers", "2"], capture_output=True, text=True, timeout=UP_SECONDS, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    lab = of_lab()
    assert lab.routers == 2
    found = in_health(lab, tools, within_seconds=HEALTHY_SECONDS)
    assert [len(cluster.routers) for cluster in found.clusters] == [2] * len(lab.sites)
    made = Bench(lab=lab, tools=tools, reporter=Silent(), pair=("de", "mn"))
    with standing_pods(made):
        yield made


def late(samples: list[Sample], limit: float) -> list[str]:
    """What had no answer for longer than that; a connection that is kept follows its own clock."""
    return [
        f"{one.source}→{one.target}, pod on {one.placement} of {one.router}, {one.kind}: {one.gap} s"
        for one in samples
        if one.kind != "kept" and (one.gap.open or one.gap.seconds > limit)
    ]


@pytest.mark.parametrize("cluster", ["de", "mn"])
@pytest.mark.parametrize("fault", FAULTS)
def test_pods_are_answered_again_in_time(bench: Bench, fault: str, cluster: str) -> None:
    samples = one_run(bench, FAULTS[fault], cluster, 1)
    assert {(one.source, one.target) for one in samples} == {("de", "mn"), ("mn", "de")}
    assert {one.placement for one in samples} == PLACES - ({"router"} if FAULTS[fault].takes_pods else set())
    assert late(samples, LIMITS[fault]) == []


@pytest.mark.parametrize("cluster", ["de", "mn"])
@pytest.mark.parametrize("fault", ["agent-killed", "machine-dead"])
def test_a_stream_of_a_nats_supercluster_loses_nothing(bench: Bench, fault: str, cluster: str, tmp_path: Path) -> None:
    """20 messages a second from a client in de to a stream in mn, over the gateways of two real servers."""
    third = {
        name: min(
            (pod for pod in pods.ready(one).values() if pod.node not in router_nodes(one)), key=lambda pod: pod.node
        )
        for name, one in bench.clusters.items()
    }
    with supercluster(third, tmp_path), Client(third["mn"], "subscribe") as mn:
        with Client(third["de"], "publish") as de:
            wait_until(
                lambda: len(de.times) > 100 and len(mn.times) > 100,
                what="messages come and are acknowledged",
                deadline_seconds=30.0,
                state=lambda: f"{de.sent} sent, {len(de.times)} acknowledged, {len(mn.times)} came",
            )
            begin = time.monotonic()
            one_run(bench, FAULTS[fault], cluster, 1)
            de.end()
            end = time.monotonic()
            assert de.sent > 20 * 10
            assert set(de.times) == set(range(1, de.sent + 1))
        mn.end()
        assert mn.stored == de.sent
        assert set(mn.times) == set(de.times)
        gap = longest_gap(mn.times.values(), begin=begin, end=min(end, max(mn.times.values())))
        assert gap.seconds <= NATS_SECONDS
