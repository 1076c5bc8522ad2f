"""The rendered Corefiles start in a real CoreDNS, which the toolchain builds where it is missing."""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from domain.corefile import LinkedZone, PeerZone, custom_zones, front_corefile, relay_corefile
from domain.foreign_keys import zones_twice
from domain.settings.installed import DnsSettings
from tests.engine.netbird_program import own_network
from toolchain import ensure

pytestmark = pytest.mark.engine

START_SECONDS: Final = 60.0

PEERS = [
    PeerZone("astring-mn.internal", (IPv4Address("127.0.0.7"),)),
    PeerZone("astring-us.internal", (IPv4Address("127.0.0.8"), IPv4Address("127.0.0.9"))),
]


@pytest.fixture
def coredns() -> Iterator[Path]:
    """The program, and a network of its own: its ports are nobody else's, as another run's on this machine."""
    program = ensure(["coredns"])["coredns"] / "coredns"
    with own_network():
        yield program


def starts(coredns: Path, corefile: str, tmp_path: Path, zones: int) -> str:
    """The output of a CoreDNS that lists so many zones within a minute; it is ended then."""
    (tmp_path / "Corefile").write_text(corefile, encoding="utf-8")
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [coredns, "-conf", tmp_path / "Corefile"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"HOST_IP": "127.0.0.53"},
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while "CoreDNS-" not in (said := log.read_text()) or said.count(".internal.:") < zones:
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
    return log.read_text()


def test_relay(coredns: Path, tmp_path: Path) -> None:
    corefile = relay_corefile(
        zone="astring-de.internal",
        cluster_dns=IPv4Address("10.43.0.10"),
        pod_cidr=IPv4Network("10.42.0.0/16"),
        node_cidr=IPv4Network("10.0.1.0/24"),
        peers=PEERS,
    )
    here = corefile.replace("bind wt0", "bind 127.0.0.100").replace(":1053 {", ":11053 {")
    here = here.replace("127.0.0.1:805", "127.0.0.53:1805").replace(":9154", ":19154")
    assert "[ERROR]" not in starts(coredns, here, tmp_path, zones=3)


def test_custom_zones(coredns: Path, tmp_path: Path) -> None:
    linked = [LinkedZone(str(index), peer.zone) for index, peer in enumerate(PEERS)]
    zones = custom_zones("astring-de.internal", linked, IPv4Address("10.43.0.53"), DnsSettings())
    here = "".join(zones.values()).replace(":53 {", ":11153 {\n    bind 127.0.0.53")
    # Without a pod's service account the plugin wants to be told where the API is; nobody answers there.
    here = here.replace(
        "endpoint_pod_names", "endpoint http://127.0.0.53:1\n        startup_timeout 100ms\n        endpoint_pod_names"
    )
    starts(coredns, here, tmp_path, zones=3)


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ("{zone}. {{\n    bind 127.0.0.54\n}}", "it is already defined"),
        ("x.internal:11154, dns://{zone} {{\n    bind 127.0.0.54\n}}", "it is already defined"),
        ("{zone} {{\n}}", "zone overlap listener capacity"),
        ("{zone} {{\n    bind 127.0.0.54\n    view v {{\n        expr true\n    }}\n}}", None),
        ("more.{zone} {{\n    bind 127.0.0.54\n}}", None),
    ],
)
def test_which_key_of_others_stands_in_the_way(coredns: Path, tmp_path: Path, theirs: str, says: str | None) -> None:
    """It is the one beside which CoreDNS does not start."""
    zone = "astring-de.internal:11154"
    ours = f"{zone} {{\n    bind 127.0.0.54\n}}\n"
    text = theirs.replace("{zone}.", "astring-de.internal.:11154").format(zone=zone)
    live = {"metadata": {}, "data": {"mine.server": text}}
    assert len(zones_twice(live, {"ours.server": ours})) == (says is not None)
    if says is None:
        starts(coredns, ours + text, tmp_path, zones=1)
        return
    with pytest.raises(AssertionError, match=says):
        starts(coredns, ours + text, tmp_path, zones=1)


# --- a relay that is dead ---------------------------------------------------------------------------------------------

ZONE: Final = "astring-mn.internal"
SILENT, LIVE, REFUSES = IPv4Address("127.0.0.61"), IPv4Address("127.0.0.62"), IPv4Address("127.0.0.63")
ANSWERS: Final = """{zone}:11253 {{
    bind {address}
    template IN A {{
        answer "{{{{ .Name }}}} 5 IN A 192.0.2.7"
    }}
}}
"""


@contextlib.contextmanager
def serving(
    coredns: Path,
    corefile: str,
    directory: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """A CoreDNS, once it answers."""
    directory.mkdir()
    (directory / "Corefile").write_text(corefile, encoding="utf-8")
    with (directory / "log").open("w") as output:
        process = subprocess.Popen(
            [coredns, "-conf", directory / "Corefile"], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, (directory / "log").read_text()
            # A closed port is refused at once: without a pause it would be asked as fast as the processor goes.
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def ask(address: str, port: int, name: str, wait_seconds: float = 5.0) -> tuple[int, float] | None:
    """The response code of a query for A and how long it took, None when nothing comes."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(wait_seconds)
        begun = time.monotonic()
        try:
            asking.connect((address, port))
            asking.send(query)
            answer = asking.recv(4096)
        except (TimeoutError, ConnectionError):
            return None
    return answer[3] & 0x0F, time.monotonic() - begun


def asked_here(corefile: str) -> str:
    """A front, or the part of a relay that peers' names are asked of, at addresses and ports of this machine."""
    asked = corefile.replace(":1053 {", ":11254 {\n    bind 127.0.0.60", 1).replace(":1053", ":11253")
    asked = asked.replace("    bind {$HOST_IP}\n", "").replace("    prometheus {$HOST_IP}:9154\n", "")
    return re.sub(r"    (health|ready) .*\n", "", asked)


@pytest.fixture
def silent(coredns: Path) -> Iterator[None]:
    """A machine that is dead: what is sent to it is lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lost:
        lost.bind((str(SILENT), 11253))
        yield


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("kind", ["front", "relay"])
def test_nobody_waits_longer_than_a_second_for_a_relay_that_is_dead(coredns: Path, tmp_path: Path, kind: str) -> None:
    """Neither of the own relays (the front) nor of those of a peer (the relay). One that is not known there is passed
    over, and soon nobody waits at all.
    """
    relays = [SILENT, LIVE, REFUSES]
    whole = (
        front_corefile([ZONE], relays)
        if kind == "front"
        else relay_corefile(
            zone="astring-de.internal",
            cluster_dns=IPv4Address("10.43.0.10"),
            pod_cidr=IPv4Network("127.0.0.0/8"),
            node_cidr=IPv4Network("10.0.1.0/24"),
            peers=[PeerZone(ZONE, tuple(relays))],
        ).partition("}\n}\n")[2]
    )
    asked = asked_here(whole)
    others = ANSWERS.format(zone=ZONE, address=LIVE)
    others += f"{ZONE}:11253 {{\n    bind {REFUSES}\n    acl {{\n        block\n    }}\n}}\n"
    known = f"x.{ZONE}"
    with (
        serving(coredns, others, tmp_path / "relays", lambda: ask(str(LIVE), 11253, known, 0.2) is not None),
        serving(coredns, asked, tmp_path / kind, lambda: ask("127.0.0.60", 11254, "not.served.here", 0.2) is not None),
    ):
        took = []
        for number in range(20):
            answer = ask("127.0.0.60", 11254, f"n{number}.{ZONE}")
            assert answer is not None
            code, seconds = answer
            assert code == 0, f"query {number}: response code {code}"
            took.append(seconds)
        until = time.monotonic() + 30
        while max(took[-20:]) > 0.1:
            assert time.monotonic() < until, "it is asked for ever"
            answer = ask("127.0.0.60", 11254, f"later.{ZONE}")
            assert answer is not None
            took.append(answer[1])
        waited = [seconds for seconds in took if seconds > 0.3]
        assert waited, "the dead one was never asked"
        # On a busy machine the live one may be late as well, and is then passed over for the dead one: most are not.
        assert statistics.median(waited) < 1.5, waited


@pytest.mark.parametrize("relays", [[SILENT], [SILENT, REFUSES]], ids=["one", "two"])
@pytest.mark.usefixtures("silent")
def test_the_relay_says_whose_relay_does_not_answer_and_where_it_is(
    coredns: Path, tmp_path: Path, relays: list[IPv4Address]
) -> None:
    """In one line for all questions of a while, and at its end."""
    corefile = relay_corefile(
        zone="astring-de.internal",
        cluster_dns=IPv4Address("10.43.0.10"),
        pod_cidr=IPv4Network("127.0.0.0/8"),
        node_cidr=IPv4Network("10.0.1.0/24"),
        peers=[PeerZone(ZONE, tuple(relays))],
    ).partition("}\n}\n")[2]
    at = tmp_path / "relay"
    ready = lambda: ask("127.0.0.60", 11254, "not.served.here", 0.2) is not None  # noqa: E731
    with serving(coredns, asked_here(corefile), at, ready) as process:
        until = time.monotonic() + 30
        number = 0
        while (answer := ask("127.0.0.60", 11254, f"n{number}.{ZONE}")) is None or answer[1] > 0.1:
            assert time.monotonic() < until, (at / "log").read_text()
            number += 1
        assert answer[0] == 2
        process.terminate()
        process.wait(10)
    said = (at / "log").read_text()
    places = " ".join(f"{address}:11253" for address in relays)
    what = f"{ZONE}: no answer of its DNS relay{'s' if len(relays) > 1 else ''} {places} by wt0"
    (line,) = [line for line in said.splitlines() if "no healthy proxies" in line]
    assert re.search(rf"[1-9][0-9]* errors like 'no healthy proxies\|{re.escape(what)}' occurred in last 10s$", line)
