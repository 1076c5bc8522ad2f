"""What is read out of the agents' and ping's output, and what is said of a lab that is not well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.status import (
    ClusterStatus,
    HelperStatus,
    LinkStatus,
    MachineStatus,
    NodeStatus,
    RouterStatus,
    Status,
    parse_ping_average,
    peer_path,
    unready,
)

NODE = NodeStatus(name="mn-2", ready=True, address="192.168.7.12", router=True)
ROUTER = RouterStatus(node="mn-2", node_ip="192.168.7.12", netbird_ip="100.77.0.2", connected=True)
CLUSTER = ClusterStatus(
    name="mn", reachable=True, nodes=(NODE,), routers=(ROUTER,), dns_zone="mn.internal", expected_nodes=1
)
LINK = LinkStatus(source="de", target="mn", path="direct", round_trip_ms=1.0, policy=True)
GOOD = Status(
    machines=(MachineStatus(name="mn-2", running=True),),
    helpers=(HelperStatus(name="mirror", running=True, url="http://198.51.100.30"),),
    clusters=(CLUSTER,),
    links=(LINK,),
)


def test_a_good_lab_is_up() -> None:
    assert GOOD.is_up
    assert list(unready(GOOD)) == []
    assert GOOD.as_json()["up"] is True
    assert GOOD.as_json()["clusters"][0]["routers"][0]["netbird_ip"] == "100.77.0.2"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (replace(GOOD, machines=(MachineStatus(name="mn-2", running=False),)), "The machine mn-2 does not run."),
        (
            replace(GOOD, helpers=(replace(GOOD.helpers[0], running=False),)),
            "The helper mirror (http://198.51.100.30) does not run.",
        ),
        (replace(GOOD, clusters=(replace(CLUSTER, reachable=False),)), "The API of mn does not answer."),
        (replace(GOOD, clusters=(replace(CLUSTER, expected_nodes=2),)), "mn has 1 of 2 nodes."),
        (
            replace(GOOD, clusters=(replace(CLUSTER, nodes=(replace(NODE, ready=False),)),)),
            "The node mn-2 of mn is not ready.",
        ),
        (replace(GOOD, clusters=(replace(CLUSTER, routers=()),)), "mn has no router that is connected to NetBird."),
        (replace(GOOD, links=(replace(LINK, path="down"),)), "The link from de to mn is down."),
        (replace(GOOD, links=(replace(LINK, policy=False),)), "de has no egress policy for the pods of mn."),
    ],
)
def test_each_fault_is_said_and_the_lab_is_not_up(status: Status, sentence: str) -> None:
    assert not status.is_up
    assert list(unready(status)) == [sentence]


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


def test_the_average_of_a_ping() -> None:
    text = (
        "5 packets transmitted, 5 received, 0% packet loss, time 804ms\nrtt min/avg/max/mdev = 0.5/0.713/1.1/0.2 ms\n"
    )
    assert parse_ping_average(text) == 0.713
    assert parse_ping_average("5 packets transmitted, 0 received, 100% packet loss") is None
