from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from keeper.config import BadConfig, ConfigFile, Peer, parse_config

MN: dict[str, Any] = {
    "version": 1,
    "cluster": "mn",
    "port": 51823,
    "interface": "wt0",
    "routers": {"mn-2": "10.10.0.12", "mn-1": "10.10.0.11"},
    "pod_cidr": "10.52.0.0/16",
    "peers": {
        "de": {
            "routers": {"de-agent-1": "100.106.1.2"},
            "ranges": ["10.42.0.0/16"],
            "policy": "isthmus-to-de",
            "port": 51823,
        },
        "old": {
            "routers": {"old-1": "100.106.9.9"},
            "ranges": ["10.62.0.0/16"],
            "policy": "isthmus-to-old",
            "port": None,
        },
    },
}


def test_the_file_is_read() -> None:
    config = parse_config(json.dumps(MN))
    assert list(config.routers) == ["mn-1", "mn-2"]
    assert config.peers["de"] == Peer({"de-agent-1": "100.106.1.2"}, ("10.42.0.0/16",), "isthmus-to-de", 51823)
    assert config.peers["old"].port is None
    assert config.cluster_at("100.106.9.9") == "old"
    assert config.cluster_at("10.10.0.11") is None


def test_what_a_later_program_adds_is_ignored() -> None:
    later = {**MN, "version": 2, "more": 1, "peers": {"de": {**MN["peers"]["de"], "more": 1}}}
    assert parse_config(json.dumps(later)).peers["de"].port == 51823


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"port": 0}, "port 0 is none"),
        ({"port": "51823"}, "port '51823' is none"),
        ({"routers": {"mn-1": "10.10.0.300"}}, "10.10.0.300"),
        ({"routers": ["mn-1"]}, "items"),
        ({"pod_cidr": "10.52.0.1/16"}, "has host bits set"),
        ({"peers": {"de": {"routers": {}, "ranges": []}}}, "policy is missing"),
        ({"peers": {"de": {**MN["peers"]["de"], "ranges": ["all"]}}}, "all"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        parse_config(json.dumps(MN | change))


def test_a_missing_entry_is_named() -> None:
    with pytest.raises(BadConfig, match=r"keeper.json: cluster is missing"):
        parse_config(json.dumps({name: value for name, value in MN.items() if name != "cluster"}))


def test_a_changed_file_is_read_once_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keeper.json"
    path.write_text(json.dumps(MN))
    file = ConfigFile(path)
    assert file.changed() == parse_config(json.dumps(MN))
    assert file.changed() is None
    replace(path, "{")
    assert file.changed() is None
    assert "keeper.json" in file.problem
    replace(path, json.dumps(MN | {"port": 51900}))
    found = file.changed()
    assert found is not None
    assert (found.port, file.problem) == (51900, "")
    path.unlink()
    assert file.changed() is None
    assert "No such file" in file.problem


def replace(path: Path, text: str) -> None:
    """As the kubelet does it: another file under the name."""
    new = path.with_name("new")
    new.write_text(text)
    os.replace(new, path)  # noqa: PTH105
