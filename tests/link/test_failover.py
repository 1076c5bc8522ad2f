"""Two routers a cluster: something happens to the one that carries, and pods are answered again within seconds.

What is measured is what `./isthmus benchmark failover` measures, which does it at both clusters and as often as is
wanted: from pods on the router, on the other one and on a third node, in both directions, UDP and new connections. The
lab gets its second routers here and keeps them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.commands import wait_until
from lab.failover import pods
from lab.failover.carrying import way
from lab.failover.gaps import Sample, longest_gap
from lab.failover.probing import Flow, Probing, probing
from lab.failover.run import Bench, health, one_run, router_nodes, standing_pods
from lab.faults import FAULTS
from lab.kubernetes import Cluster
from lab.project import Tools
from lab.reporting import Silent
from lab.sites import of_lab
from lab.status import NETBIRD_NAMESPACE
from lab.topology import DEFAULT
from tests.link.assertions import in_health
from tests.link.keepers import told
from tests.link.lab_command import lab_command
from tests.link.nats import Client, supercluster

pytestmark = [pytest.mark.link, pytest.mark.thorough, pytest.mark.timeout(900)]

HEALTHY_SECONDS: Final = 150.0
LIMITS: Final = {"agent-killed": 2.0, **dict.fromkeys(set(FAULTS) - {"agent-killed"}, 5.0)}
"""Seconds without an answer, by fault."""
MENDED: Final = {
    "forwarding-off": "forwarding",
    "rules-deleted": "ip rules",
    "nft-flushed": "packet filter",
    "wt0-down": "interface",
}
"""What a keeper puts right on its own node, and says so by an Event and a metric."""
NATS_SECONDS: Final = 5.0
PLANNED_SECONDS: Final = 180
PLANNED_GAP_SECONDS: Final = 1.5
"""A packet that is lost on the way to another router is sent again after a second."""
CALM_SECONDS: Final = 3.0
PLACES: Final = {"router", "other-router", "third"}


@pytest.fixture(scope="module")
def bench(tools: Tools) -> Iterator[Bench]:
    """A lab of two clusters with two routers each in health, with a probe pod on every node."""
    # A lab is not made smaller, and nine machines take a third of the time that the faults get.
    if len(of_lab().sites) > len(DEFAULT.sites):
        lab_command("down")
    lab_command("up", "--routers", "2")
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
        f"{sample.source}→{sample.target}, pod on {sample.placement} of {sample.router}, {sample.kind}: {sample.gap} s"
        for sample in samples
        if sample.kind != "kept" and (sample.gap.open or sample.gap.seconds > limit)
    ]


@pytest.mark.parametrize(("fault", "cluster"), list(zip(FAULTS, itertools.cycle(["de", "mn"]), strict=False)))
def test_pods_are_answered_again_in_time(bench: Bench, fault: str, cluster: str) -> None:
    before = told(bench.clusters[cluster])
    samples = one_run(bench, FAULTS[fault], cluster, 1)
    news = told(bench.clusters[cluster]).since(before)
    assert {(sample.source, sample.target) for sample in samples} == {("de", "mn"), ("mn", "de")}
    assert {sample.placement for sample in samples} == PLACES - ({"router"} if FAULTS[fault].takes_pods else set())
    assert late(samples, LIMITS[fault]) == []
    if (what := MENDED.get(fault)) is not None:
        assert news.mended[what] >= 1
        assert "NodeMended" in [reason for reason, _ in news.events.values()]


@pytest.mark.parametrize(("fault", "cluster"), [("agent-killed", "mn"), ("machine-dead", "de")])
def test_a_stream_of_a_nats_supercluster_loses_nothing(bench: Bench, fault: str, cluster: str, tmp_path: Path) -> None:
    """20 messages a second from a client in de to a stream in mn, over the gateways of two real servers."""
    third = {
        name: min(
            (pod for pod in pods.ready(kubernetes).values() if pod.node not in router_nodes(kubernetes)),
            key=lambda pod: pod.node,
        )
        for name, kubernetes in bench.clusters.items()
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


def drained(cluster: Cluster, node: str) -> None:
    """What an administrator types before a reboot."""
    cluster.kubectl(
        *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={PLANNED_SECONDS}s"),
        deadline_seconds=PLANNED_SECONDS + 30,
    )


def rolled(cluster: Cluster, _node: str) -> None:
    """All agents anew, as after a change of their image."""
    deployment = f"deployment/networkrouter-isthmus-{cluster.name}"
    for words in (("restart",), ("status", f"--timeout={PLANNED_SECONDS}s")):
        verb, *flags = words
        cluster.kubectl(
            *("rollout", verb, deployment, "-n", NETBIRD_NAMESPACE, *flags), deadline_seconds=PLANNED_SECONDS + 30
        )


@pytest.mark.parametrize(("work", "cluster"), [(drained, "mn"), (rolled, "de")])
def test_planned_work_costs_no_connection(bench: Bench, work: Callable[[Cluster, str], None], cluster: str) -> None:
    """20 new connections a second in every flow, and none fails; pods that the drain itself ends are not asked."""
    health(bench)
    peer = bench.peer(cluster)
    own, other = bench.clusters[cluster], bench.clusters[peer]
    routers, peers = router_nodes(own), router_nodes(other)
    near = pods.ready(own)
    far = min((pod for node, pod in pods.ready(other).items() if node not in peers), key=lambda pod: pod.node)
    out = [Flow(pod, far) for pod in near.values()]
    carrier = ""
    try:
        with probing([*near.values(), far]) as made:
            made.start(flows := [*out, *(Flow(far, pod) for pod in near.values())])
            calm(made, flows)
            carrier = way(made, out, own=routers, peers=peers).source
            if work is drained:
                flows = [flow for flow in flows if carrier not in (flow.source.node, flow.target.node)]
            made.stop()
            made.start(flows)
            calm(made, flows)
            begin = time.monotonic()
            work(own, carrier)
            calm(made, flows)
            assert {node for flow in flows for node in (flow.source.node, flow.target.node)} > {far.node}
            failed = {flow.name: made.of(flow).failures(flow, "tcp", begin) for flow in flows}
            gaps = {
                flow.name: longest_gap(made.of(flow).answers(flow, "tcp"), begin=begin, end=made.of(flow).now)
                for flow in flows
            }
    finally:
        if carrier and work is drained:
            own.kubectl("uncordon", carrier, deadline_seconds=30)
            pods.start(own)
    assert {name: failures for name, failures in failed.items() if failures} == {}
    assert {name: str(gap) for name, gap in gaps.items() if gap.open or gap.seconds > PLANNED_GAP_SECONDS} == {}


def calm(made: Probing, flows: list[Flow]) -> None:
    """All answers come, and have done so for a while."""
    wait_until(
        lambda: made.calm(flows, seconds=CALM_SECONDS),
        what="all answers come without a pause",
        deadline_seconds=120.0,
        state=lambda: ", ".join(made.silent(flows, seconds=CALM_SECONDS)),
        every_seconds=0.2,
    )
