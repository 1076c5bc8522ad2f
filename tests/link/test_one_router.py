"""The only router of a cluster stops forwarding while its machine runs; the keeper puts that right by itself.

Nobody is there to take over, so pods wait for as long as that takes. The same with two routers is in test_failover.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from lab.failover.run import Bench, one_run, standing_pods
from lab.faults import FAULTS
from lab.project import Tools
from lab.reporting import Silent
from lab.topology import DEFAULT
from tests.link.assertions import in_health
from tests.link.keepers import told

pytestmark = [pytest.mark.link, pytest.mark.thorough, pytest.mark.timeout(600)]

HEALTHY_SECONDS: Final = 150.0
MENDED_SECONDS: Final = 10.0


@pytest.fixture(scope="module")
def bench(tools: Tools) -> Iterator[Bench]:
    """A probe pod on every node of a lab in health."""
    in_health(DEFAULT, tools, within_seconds=HEALTHY_SECONDS)
    made = Bench(lab=DEFAULT, tools=tools, reporter=Silent(), pair=("de", "mn"))
    with standing_pods(made):
        yield made


@pytest.mark.parametrize(
    ("fault", "what", "cluster"),
    [
        ("forwarding-off", "forwarding", "mn"),
        ("rules-deleted", "ip rules", "de"),
        ("nft-flushed", "packet filter", "mn"),
        ("wt0-down", "interface", "de"),
    ],
)
def test_the_keeper_mends_it_and_says_so(bench: Bench, fault: str, what: str, cluster: str) -> None:
    before = told(bench.clusters[cluster])
    samples = one_run(bench, FAULTS[fault], cluster, 1)
    assert {(sample.source, sample.target, sample.placement) for sample in samples} == {
        (source, target, place) for source, target in (("de", "mn"), ("mn", "de")) for place in ("router", "third")
    }
    assert [
        sample
        for sample in samples
        if sample.kind != "kept" and (sample.gap.open or sample.gap.seconds > MENDED_SECONDS)
    ] == []
    news = told(bench.clusters[cluster]).since(before)
    assert news.mended[what] >= 1
    assert [message for reason, message in news.events.values() if reason == "NodeMended"] != []
