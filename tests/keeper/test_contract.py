"""What the program renders the keeper reads, and what the keeper says the program reads."""

from __future__ import annotations

from domain.keeper import KeeperStatus, config_text, keeper_config, read_status
from domain.link import parse_link
from keeper.config import Peer, parse_config
from keeper.decision import PeerView
from keeper.report import spoken
from keeper.seen import Judged, OwnSeen
from tests.components.recording import LINKS
from tests.domain.samples import MN, plan_of


def test_the_keepers_file() -> None:
    rendered = keeper_config(plan_of("mn", MN), 51823, [parse_link(LINKS["de"], "de")], {"de": 51900})
    config = parse_config(config_text(rendered))
    assert (config.cluster, config.port, config.interface) == ("mn", 51823, "wt0")
    assert config.routers == {"mn-2": "192.168.7.12"}
    assert config.pod_cidr == "10.52.0.0/16"
    assert config.peers == {"de": Peer({"de-agent-1": "100.92.0.7"}, ("10.42.0.0/16",), "isthmus-to-de", 51900)}


def test_a_peer_without_keepers() -> None:
    rendered = keeper_config(plan_of("mn", MN), 51823, [parse_link(LINKS["de"], "de")], {})
    assert parse_config(config_text(rendered)).peers["de"].port is None


def test_the_keepers_word() -> None:
    views = {
        "de": PeerView(Judged(False, "de-agent-1 does not answer"), "mn-2", None),
        "kz": PeerView(Judged(True), None, None),
    }
    line = spoken(OwnSeen(ok=False, reasons=("wt0 is down",)), views, {"de": False, "kz": True})
    assert read_status(f"keeper: this node is not in order\n{line}\nkeeper: more\n") == KeeperStatus(
        own=("wt0 is down",), peers={"de": "de-agent-1 does not answer", "kz": ""}, without_tunnel=frozenset({"de"})
    )
