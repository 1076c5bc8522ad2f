from __future__ import annotations

import json
import re

import pytest

from keeper.config import Config, Peer
from keeper.conversation import Conversation
from keeper.decision import PeerView
from keeper.messages import Message
from keeper.metrics import render
from keeper.report import Counts, over_of, spoken, status, tunnels_of
from keeper.seen import UNNAMED, Judged, OwnSeen
from keeper.wireguard import Device, WireGuardPeer

CONFIG = Config(
    cluster="mn",
    port=51823,
    interface="wt0",
    routers={"mn-1": "10.10.0.11", "mn-2": "10.10.0.12"},
    pod_cidr="10.52.0.0/16",
    peers={
        "de": Peer(
            {"de-1": "100.64.2.1", "de-2": "100.64.2.2"}, ("10.42.0.0/16", "10.43.0.0/16"), "isthmus-to-de", 51823
        ),
        "old": Peer({"old-1": "100.64.3.1"}, ("10.62.0.0/16",), "isthmus-to-old", None),
    },
)
DEVICE = (
    WireGuardPeer(b"1", frozenset({"100.64.2.1/32", "10.42.0.0/16", "10.43.0.0/16"}), "192.0.2.7", 7),
    WireGuardPeer(b"2", frozenset({"100.64.2.2/32"}), "127.0.0.1", 7),
    WireGuardPeer(b"3", frozenset({"100.64.3.1/32"}), "", 7),
)


def the_status() -> dict[str, object]:
    talk = Conversation(CONFIG, node="mn-1", key=b"k", boot="b", to_sibling=lambda *_: None, to_router=lambda *_: None)
    talk.probe(10.0)
    sequence = next(iter(talk.routers["de"]["de-1"].sent_at))
    talk.routers["de"]["de-1"].hear(Message("answer", "de", "de-1", "x", 1, ok=True, echo=("b", sequence)), 10.0125)
    counts = Counts()
    counts.moved("de", "over")
    counts.moved("de", "over")
    counts.mended["ip rules"] += 1
    views = {"de": PeerView(Judged(True), "mn-1", "de-1"), "old": PeerView(Judged(False, 'a "reason"'), "mn-2", None)}
    own = OwnSeen(ok=True, routed={"de": True, "old": False})
    return status(talk, own, views, DEVICE, counts, {"Kubernetes": "", "WireGuard": "refused"})


def test_the_status_says_all_of_it() -> None:
    found = the_status()
    assert (found["version"], found["node"], found["ok"], found["draining"]) == (1, "mn-1", True, False)
    assert found["siblings"] == {"mn-2": {"state": "unknown", "ok": None}}
    assert found["problems"] == {"WireGuard": "refused"}
    peers = found["peers"]
    assert isinstance(peers, dict)
    assert peers["old"] == {
        "good": False,
        "reason": 'a "reason"',
        "out": "mn-2",
        "over": {},
        "routed": False,
        "keeper": False,
        "routers": {
            "old-1": {"good": None, "state": "unknown", "draining": False, "rtt_ms": None, "loss": 0.0, "relayed": None}
        },
    }
    assert peers["de"]["over"] == {"10.42.0.0/16": "de-1", "10.43.0.0/16": "de-1"}
    assert peers["de"]["routers"]["de-1"] == {
        "good": True,
        "state": "alive",
        "draining": False,
        "rtt_ms": 12.5,
        "loss": 0.0,
        "relayed": False,
    }
    assert peers["de"]["routers"]["de-2"]["relayed"] is True


def test_what_up_reads_is_one_line() -> None:
    views = {"de": PeerView(Judged(None, "no answer of de yet"), "mn-1", None)}
    line = spoken(OwnSeen(ok=False, reasons=("wt0 is down",)), views, {"de": True})
    assert line.startswith("STATUS {")
    assert json.loads(line.removeprefix("STATUS ")) == {
        "self_ok": False,
        "self_reasons": ["wt0 is down"],
        "peers": {"de": {"good": False, "reason": "no answer of de yet", "out": "mn-1", "over": None, "tunnel": True}},
    }


def test_a_router_holds_a_peer_when_it_has_all_of_its_ranges() -> None:
    assert over_of(CONFIG, DEVICE) == {"de": "de-1", "old": None}
    half = (WireGuardPeer(b"1", frozenset({"100.64.2.1/32", "10.42.0.0/16"}), "", 0), *DEVICE[1:])
    assert over_of(CONFIG, half) == {"de": None, "old": None}
    assert over_of(CONFIG, None) == {}


@pytest.mark.parametrize("taken", [{"10.42.0.0/16", "10.43.0.0/16"}, {"10.43.0.0/16"}])
def test_a_router_that_the_file_does_not_name_holds_a_peer_when_it_has_any_of_its_ranges(taken: set[str]) -> None:
    """NetBird gives one range after the other."""
    left = tuple(
        WireGuardPeer(tunnel.key, tunnel.allowed - taken, tunnel.endpoint, tunnel.received) for tunnel in DEVICE
    )
    other = WireGuardPeer(b"9", frozenset({"100.64.2.9/32", *taken}), "192.0.2.9", 0)
    assert over_of(CONFIG, (*left, other)) == {"de": UNNAMED, "old": None}


def test_a_peer_is_heard_once_something_came_through_the_tunnels_that_have_its_ranges() -> None:
    def device(received: int) -> Device:
        ranges = frozenset({"100.64.2.1/32", "10.42.0.0/16", "10.43.0.0/16"})
        return (WireGuardPeer(b"1", ranges, "192.0.2.1", received), WireGuardPeer(b"2", frozenset(), "", 5))

    assert tunnels_of(CONFIG, device(1)) == {"de": True, "old": False}
    assert tunnels_of(CONFIG, device(0)) == {"de": False, "old": False}
    assert tunnels_of(CONFIG, None) == {}
    assert "tunnel" not in spoken(OwnSeen(), {"de": PeerView(Judged(True), None, None)}, {})


LINE = re.compile(r'^isthmus_keeper_[a-z_]+(\{[a-z]+="([^"\\]|\\.)*"(,[a-z]+="([^"\\]|\\.)*")*\})? [0-9.e+-]+$')


def test_prometheus_can_read_it() -> None:
    text = render(the_status())
    lines = text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert len(samples) >= 20
    assert [line for line in samples if not LINE.match(line)] == []
    names = {line.split("{")[0].split(" ")[0] for line in samples}
    assert all(f"# TYPE {name} " in text and f"# HELP {name} " in text for name in names)
    for expected in (
        'isthmus_keeper_link_good{peer="de"} 1',
        'isthmus_keeper_link_good{peer="old"} 0',
        'isthmus_keeper_link_out{peer="old"} 0',
        'isthmus_keeper_router_used{peer="de",router="de-1"} 1',
        'isthmus_keeper_router_used{peer="de",router="de-2"} 0',
        'isthmus_keeper_round_trip_seconds{peer="de",router="de-1"} 0.0125',
        'isthmus_keeper_relayed{peer="de",router="de-2"} 1',
        'isthmus_keeper_moves_total{peer="de",way="over"} 2',
        'isthmus_keeper_mended_total{what="ip rules"} 1',
    ):
        assert expected in lines
