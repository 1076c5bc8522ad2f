"""What is said of a lab, when it is up, and in which order causes are told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lab.status import (
    Cause,
    ClusterStatus,
    HelperStatus,
    LinkStatus,
    MachineStatus,
    NodeStatus,
    RouterStatus,
    Status,
    peer_path,
    unready,
)
from tests.lab.status.samples import name_probe, probes

NODE = NodeStatus(name="mn-2", ready=True, address="192.168.7.12", router=True)
ROUTER = RouterStatus(node="mn-2", node_ip="192.168.7.12", netbird_ip="100.77.0.2", connected=True)
CLUSTER = ClusterStatus(
    name="mn", reachable=True, nodes=(NODE,), routers=(ROUTER,), dns_zone="mn.internal", expected_nodes=1
)
LINK = LinkStatus(
    source="de",
    target="mn",
    verdict="up",
    names="up",
    path="direct",
    round_trip_ms=1.0,
    policy=True,
    probes=tuple(probes()),
    name_probes=(name_probe(),),
    not_probed=(),
    causes=(),
)
GOOD = Status(
    machines=(MachineStatus(name="mn-2", running=True),),
    helpers=(HelperStatus(name="mirror", running=True, url="http://198.51.100.30"),),
    clusters=(CLUSTER,),
    links=(LINK,),
)


def cause(identifier: str, kind: str, *, explains: bool = False, where: str = "mn-2, router of mn") -> Cause:
    return Cause(
        id=identifier,
        title=identifier.replace("-", " "),
        where=where,
        observed="seen",
        fix="do it",
        kind=kind,  # type: ignore[arg-type]
        explains_packets=explains,
        explains_names=False,
    )


def test_a_good_lab_is_up() -> None:
    assert GOOD.is_up
    assert GOOD.is_whole
    assert GOOD.in_health
    assert list(unready(GOOD)) == []
    assert GOOD.causes == ()
    told = json.loads(json.dumps(GOOD.as_json()))
    assert (told["up"], told["whole"]) == (True, True)
    assert told["clusters"][0]["routers"][0]["netbird_ip"] == "100.77.0.2"
    assert [probe["passed"] for probe in told["links"][0]["probes"]] == [True] * 4


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (replace(GOOD, machines=(MachineStatus(name="mn-2", running=False),)), "The machine mn-2 does not run."),
        (
            replace(GOOD, helpers=(replace(GOOD.helpers[0], running=False),)),
            "The helper mirror (http://198.51.100.30) does not run.",
        ),
        (replace(GOOD, clusters=(replace(CLUSTER, reachable=False),)), "The API of mn does not answer."),
        (replace(GOOD, links=(replace(LINK, verdict="down"),)), "No packet passes from de to mn."),
        (
            replace(GOOD, links=(replace(LINK, verdict="partly", probes=tuple(probes(lost_to=["other"]))),)),
            "2 of 4 probes from de to mn are lost: de-agent-1 to mn-1 (icmp), de-server-1 to mn-1 (icmp).",
        ),
        (
            replace(GOOD, links=(replace(LINK, names="down", name_probes=(name_probe(passed=False),)),)),
            "Names of mn are not answered in de: SERVFAIL.",
        ),
        (
            replace(GOOD, links=(replace(LINK, verdict="unknown", not_probed=("de has no pod to ask from.",)),)),
            "Nothing was sent from de to mn: de has no pod to ask from.",
        ),
    ],
)
def test_each_fault_is_said_and_the_lab_is_not_up(status: Status, sentence: str) -> None:
    assert not status.is_up
    assert list(unready(status)) == [sentence]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (replace(GOOD, clusters=(replace(CLUSTER, expected_nodes=2),)), "mn has 1 of 2 nodes."),
        (
            replace(GOOD, clusters=(replace(CLUSTER, nodes=(replace(NODE, ready=False),)),)),
            "The node mn-2 of mn is not ready.",
        ),
        (replace(GOOD, clusters=(replace(CLUSTER, routers=()),)), "mn has no router that is connected to NetBird."),
        (
            replace(GOOD, clusters=(replace(CLUSTER, expected_routers=2),)),
            "1 of 2 routers of mn are connected to NetBird.",
        ),
        (
            replace(GOOD, clusters=(replace(CLUSTER, routers=(ROUTER, replace(ROUTER, connected=False))),)),
            "1 of 2 routers of mn are connected to NetBird.",
        ),
        (
            replace(GOOD, clusters=(replace(CLUSTER, servers={"192.168.7.11": False, "192.168.7.13": True}),)),
            "1 of 2 servers of mn take a connection; not 192.168.7.11.",
        ),
    ],
)
def test_a_lab_whose_links_carry_is_up_though_not_whole(status: Status, sentence: str) -> None:
    assert (status.is_up, status.is_whole) == (True, False)
    assert list(unready(status)) == [sentence]


def test_the_word_of_an_agent_or_a_policy_does_not_make_a_link() -> None:
    down = replace(LINK, path="direct", policy=True, verdict="down")
    assert not replace(GOOD, links=(down,)).is_up
    carries = replace(LINK, path="unknown", policy=False)
    assert replace(GOOD, links=(carries,)).is_up


@pytest.mark.parametrize(("kind", "up"), [("remark", True), ("security", False), ("fault", False)])
def test_a_security_fault_counts_though_packets_pass_and_a_remark_does_not(kind: str, up: bool) -> None:
    status = replace(GOOD, links=(replace(LINK, causes=(cause("kubelet-away", kind),)),))
    assert (status.is_up, status.is_whole, status.in_health) == (up, up, False)


def test_a_cause_is_told_once_and_what_explains_comes_first() -> None:
    remark, lost = cause("kubelet-away", "remark"), cause("wt0-away", "fault", explains=True)
    guard = cause("guard-missing", "security")
    idle = replace(lost, explains_packets=False, kind="remark")
    links = (
        replace(LINK, causes=(remark, guard, idle)),
        replace(LINK, source="mn", target="de", causes=(lost, remark, guard)),
    )
    assert replace(GOOD, links=links).causes == (
        (lost, ("mn → de",)),
        (guard, ("de → mn", "mn → de")),
        (remark, ("de → mn", "mn → de")),
    )
    assert lost.sentence == "wt0 away (mn-2, router of mn): seen"


@pytest.mark.parametrize(
    ("peers", "path"),
    [
        ([{"netbirdIp": "100.77.0.2/16", "status": "Connected", "connectionType": "P2P"}], "direct"),
        ([{"netbirdIp": "100.77.0.2", "status": "Connected", "connectionType": "Relayed"}], "relayed"),
        ([{"netbirdIp": "100.77.0.2", "status": "Connecting", "connectionType": "-"}], "down"),
        ([{"netbirdIp": "100.77.0.3", "status": "Connected", "connectionType": "P2P"}], "down"),
        (None, "down"),
    ],
)
def test_the_path_to_a_peer(peers: list[dict[str, str]] | None, path: str) -> None:
    assert peer_path({"peers": {"details": peers}}, "100.77.0.2") == path
