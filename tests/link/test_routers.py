"""A second router comes and goes, and the only one moves, each by one `pulumi up`, while pods of both clusters ask each
other all the time. What is broken off in the middle and what is left in NetBird is looked at in
``tests/engine/test_routers.py`` as well, which always runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import pytest

from lab.commands import wait_until
from lab.failover import pods
from lab.failover.gaps import Gap, Kind, longest_gap
from lab.failover.probing import Flow, probing
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.status import Status
from lab.topology import DEFAULT
from tests.link.assertions import all_passed, in_health
from tests.link.changing import change_settings, changes_ahead, stack_files_kept, up
from tests.link.conftest import Verify

pytestmark = [pytest.mark.link, pytest.mark.thorough]

MACHINES: Final = ("mn-1", "mn-2")
LONGEST_SECONDS: Final = 3.0
"""Without an answer, for whoever asks anew. A policy that names another node is followed by each node on its own, and a
SYN that is lost meanwhile comes a second later."""
NETBIRD_SECONDS: Final = 9.0
"""The peer does not know a router that has just moved before its own next `up`: until then NetBird alone finds the way
over, in 4 to 8 s after the agent that goes has ended."""
HEALTH_SECONDS: Final = 180.0
ASKED: Final[tuple[Kind, ...]] = ("udp", "tcp")
LABEL: Final = "isthmus.dev/router"
STEPS: Final = {"comes": {"mn-1", "mn-2"}, "goes": {"mn-2"}, "moves": {"mn-1"}, "is back": {"mn-2"}}


@pytest.fixture(scope="module")
def _pods(clusters: Mapping[str, Cluster]) -> Iterator[None]:
    for cluster in clusters.values():
        pods.start(cluster)
    yield
    for cluster in clusters.values():
        pods.remove(cluster)


def watched_up(pulumi: Pulumi, clusters: Mapping[str, Cluster]) -> dict[str, Gap]:
    """`pulumi up` of mn; the longest time without an answer of every flow and kind since then."""
    found = {name: pods.ready(cluster) for name, cluster in clusters.items()}
    far = min(found["de"].values(), key=lambda pod: pod.node)
    flows = [flow for pod in found["mn"].values() for flow in (Flow(pod, far), Flow(far, pod))]
    with probing([*found["mn"].values(), far]) as made:
        made.start(flows)
        calm = {"what": "all answers come without a pause", "deadline_seconds": 120.0, "every_seconds": 0.2}
        wait_until(
            lambda: made.calm(flows, seconds=3.0),
            state=lambda: ", ".join(made.silent(flows, seconds=3.0)),
            **calm,  # type: ignore[arg-type]
        )
        begin = time.monotonic()
        up(pulumi, ["mn"])
        wait_until(
            lambda: made.calm(flows, seconds=3.0),
            state=lambda: ", ".join(made.silent(flows, seconds=3.0)),
            **calm,  # type: ignore[arg-type]
        )
        return {
            f"{flow.name} {kind}": longest_gap(made.of(flow).answers(flow, kind), begin=begin, end=made.of(flow).now)
            for flow in flows
            for kind in ASKED
        }


def limit(step: str, flow: str) -> float:
    """Seconds without an answer that a step may cost a flow."""
    over = step in ("moves", "is back") and flow.startswith("de-")
    return NETBIRD_SECONDS if over else LONGEST_SECONDS


def router_peers(pulumi: Pulumi, stack: str) -> dict[str, str]:
    told = json.loads(pulumi.run("stack", "output", "--json", "-s", stack).stdout)
    peers: dict[str, str] = told["router_peers"]
    assert {router["node"]: router["peer_ip"] for router in told["link"]["routers"]} == peers
    return peers


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("_pods")
def test_routers_come_go_and_move(
    pulumi: Pulumi,
    clusters: Mapping[str, Cluster],
    netbird: NetBirdApi,
    tools: Tools,
    run_verify: Verify,
    status: Callable[[], Status],
) -> None:
    before = router_peers(pulumi, "mn")
    assert before.keys() == {"mn-2"}
    in_health(DEFAULT, tools, within_seconds=HEALTH_SECONDS)
    seen: dict[str, dict[str, str]] = {}
    with stack_files_kept(["mn"]):
        for step, routers in STEPS.items():
            flags = {f"on_premise.machines.{index}.router": name in routers for index, name in enumerate(MACHINES)}
            change_settings("mn", flags)
            gaps = watched_up(pulumi, clusters)
            seen[step] = {flow: str(gap) for flow, gap in gaps.items()}
            print(f"{step}: {seen[step]}")
            limits = {flow: limit(step, flow) for flow in gaps}
            assert all(not gap.open and gap.seconds <= limits[flow] for flow, gap in gaps.items()), seen
            peers = router_peers(pulumi, "mn")
            assert peers.keys() == routers
            nodes = {node["metadata"]["name"] for node in clusters["mn"].get("nodes", selector=f"{LABEL}=true")}
            assert nodes == routers
            group = next(candidate for candidate in netbird.list("groups") if candidate["name"] == "isthmus-mn-routers")
            members = {peer["id"] for peer in group["peers"]}
            there = {peer["ip"] for peer in netbird.list("peers") if peer["id"] in members}
            assert there == {*peers.values()}, "nobody is left over"
            # The peer takes the new addresses, for its DNS relay.
            up(pulumi, ["de"])
            in_health(DEFAULT, tools, within_seconds=HEALTH_SECONDS)
            all_passed(run_verify("icmp", "service-name", "egress-policy"))
            if step == "goes":
                assert peers == before, "it has kept its identity all the while"
        assert changes_ahead(pulumi, ["de", "mn"]) == {}
