"""What the keepers are told, what they run, and what they say."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import re
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from domain.keeper import (
    KeeperStatus,
    ProgramError,
    config_text,
    keeper_config,
    keeper_output,
    keeper_program,
    peer_port,
    read_status,
    why_not,
)
from domain.link import parse_link
from tests.components.recording import LINKS
from tests.domain.samples import MN, plan_of

FILES = {
    "keeper/__main__.py": b"def main(): return 0\n",
    "keeper/archive.py": b"start = 1\n",
    "keeper/deep/inside.py": b"x = 1\n",
}


class TestConfig:
    def test_it_names_routers_and_peers(self) -> None:
        found = keeper_config(plan_of("mn", MN), 51823, [parse_link(LINKS["de"], "de")], {"de": 51900})
        assert found == {
            "version": 1,
            "cluster": "mn",
            "port": 51823,
            "interface": "wt0",
            "routers": {"mn-2": "192.168.7.12"},
            "pod_cidr": "10.52.0.0/16",
            "peers": {
                "de": {
                    "routers": {"de-agent-1": "100.92.0.7"},
                    "ranges": ["10.42.0.0/16"],
                    "policy": "isthmus-to-de",
                    "port": 51900,
                }
            },
        }

    def test_metrics_are_said_only_where_they_are_wanted(self) -> None:
        found = keeper_config(plan_of("mn", MN), 51823, [], {}, metrics=True)
        assert found.pop("metrics") is True
        assert found == keeper_config(plan_of("mn", MN), 51823, [], {})

    @pytest.mark.parametrize("ports", [{}, {"de": None}])
    def test_a_peer_without_keepers(self, ports: dict[str, int | None]) -> None:
        found = keeper_config(plan_of("mn", MN), 51823, [parse_link(LINKS["de"], "de")], ports)
        assert found["peers"]["de"]["port"] is None

    def test_before_any_peer_is_there(self) -> None:
        assert keeper_config(plan_of("mn", MN), 51823, [], {"de": None})["peers"] == {}

    def test_equal_content_gives_equal_bytes(self) -> None:
        config, other = {"b": {"d": 1, "c": 2}, "a": 3}, {"a": 3, "b": {"c": 2, "d": 1}}
        assert config_text(config) == config_text(other)
        assert json.loads(config_text(config)) == config


class TestOutput:
    def test_round_trip(self) -> None:
        assert peer_port(keeper_output(51900)) == 51900
        assert peer_port(keeper_output(None)) is None

    def test_a_number_of_the_engine(self) -> None:
        assert peer_port({"port": 51823.0, "more": "of a later program"}) == 51823

    @pytest.mark.parametrize(
        "output", [None, "51823", {}, {"port": None}, {"port": "51823"}, {"port": True}, {"port": 0}, {"port": 1.5}]
    )
    def test_anything_else_is_no_keeper(self, output: Any) -> None:
        assert peer_port(output) is None


class TestProgram:
    def test_python_runs_it(self) -> None:
        with zipfile.ZipFile(io.BytesIO(keeper_program(FILES))) as archive:
            assert archive.namelist() == ["__main__.py", "keeper.json.bz2"]
            assert archive.read("__main__.py") == FILES["keeper/archive.py"]
            packed = json.loads(bz2.decompress(archive.read("keeper.json.bz2")))
        assert packed == {name: content.decode() for name, content in FILES.items()}

    @given(some.permutations(sorted(FILES)))
    def test_equal_files_give_equal_bytes(self, names: list[str]) -> None:
        assert keeper_program({name: FILES[name] for name in names}) == keeper_program(FILES)

    def test_nothing_in_it_hangs_on_the_machine(self) -> None:
        with zipfile.ZipFile(io.BytesIO(keeper_program(FILES))) as archive:
            for entry in archive.infolist():
                assert entry.compress_type == zipfile.ZIP_STORED
                assert (entry.date_time, entry.create_system) == ((1980, 1, 1, 0, 0, 0), 3)

    def test_whoever_makes_it_it_is_the_same(self) -> None:
        """Another sum here: every keeper starts anew because another machine ran `up`."""
        files = {
            **FILES,
            "keeper/large.py": b"".join(b"x%d = %d\n" % (number, number * number) for number in range(20_000)),
        }
        sums = [hashlib.sha256(keeper_program(packed)).hexdigest()[:16] for packed in (FILES, files)]
        assert sums == ["f44caa940e763b01", "18b654137a9e98d3"]

    def test_more_than_a_config_map_takes(self) -> None:
        length = len(keeper_program(FILES))
        says = (
            f"^the keeper has {length} bytes, and a ConfigMap takes {length - 1}; its largest files: "
            r"keeper/__main__\.py 21, keeper/archive\.py 10, keeper/deep/inside\.py 6$"
        )
        with pytest.raises(ProgramError, match=says):
            keeper_program(FILES, length - 1)
        assert len(keeper_program(FILES, length)) == length

    def test_the_limit_is_that_of_a_config_map(self) -> None:
        noise = "".join(hashlib.sha512(str(number).encode()).hexdigest() for number in range(17_000))
        with pytest.raises(ProgramError, match=r"^the keeper has 1\d{6} bytes, and a ConfigMap takes 1048576; "):
            keeper_program({**FILES, "keeper/noise.py": noise.encode()})

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ({}, "keeper/archive.py among no files"),
            ({"keeper/other.py": b""}, "keeper/archive.py among keeper/other.py"),
            ({"keeper/archive.py": b""}, "keeper/__main__.py among keeper/archive.py"),
        ],
    )
    def test_no_entry(self, files: dict[str, bytes], says: str) -> None:
        with pytest.raises(ProgramError, match=f"^{re.escape(f'the package keeper has no {says}')}$"):
            keeper_program(files)


GOOD = '{"self_ok": true, "peers": {"de": {"good": true, "reason": "", "out": "mn-2"}}}'
BAD = '{"self_ok": true, "peers": {"de": {"good": false, "reason": "no answer of de-agent-1"}}, "moves": 3}'


class TestWords:
    @pytest.mark.parametrize(
        ("log", "status"),
        [
            ("", None),
            ("STATUS\nSTATUS {\nSTATUSES {}\n", None),
            (f"STATUS {GOOD}\n", KeeperStatus((), {"de": ""})),
            (f"STATUS {GOOD}\nhello\nSTATUS {BAD}\nSTATUS {{half", KeeperStatus((), {"de": "no answer of de-agent-1"})),
            ('STATUS {"self_ok": false, "self_reasons": ["no wt0"]}', KeeperStatus(("no wt0",), {})),
            ('STATUS {"self_ok": false}', KeeperStatus(("its node is not in order",), {})),
            (
                'STATUS {"self_ok": true, "peers": {"de": {"good": true, "tunnel": false}, "kz": {"good": true}}}',
                KeeperStatus((), {"de": "", "kz": ""}, frozenset({"de"})),
            ),
            (
                'STATUS {"self_ok": true, "peers": {"de": {"good": false}}}',
                KeeperStatus((), {"de": "it does not say why"}),
            ),
        ],
    )
    def test_the_last_status_counts(self, log: str, status: KeeperStatus | None) -> None:
        assert read_status(log) == status

    def test_why_a_link_is_not_there(self) -> None:
        statuses = {
            "mn-3": KeeperStatus((), {"de": "no answer of de-agent-1", "kz": "its peers are away"}),
            "mn-2": KeeperStatus(("no wt0", "ip_forward is 0"), {"de": ""}),
            "mn-4": KeeperStatus((), {"de": ""}),
        }
        assert why_not(statuses, "de") == "mn-2: no wt0; ip_forward is 0. mn-3: no answer of de-agent-1"
        assert why_not({"mn-4": statuses["mn-4"]}, "de") == ""
        twice = KeeperStatus(("there is no wt0",), {"de": "mn-2: there is no wt0"})
        assert why_not({"mn-2": twice}, "de") == "mn-2: there is no wt0"
        assert why_not({}, "de") == ""
