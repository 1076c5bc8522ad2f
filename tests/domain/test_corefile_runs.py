"""The rendered Corefiles start in a real CoreDNS, which the toolchain builds where it is missing."""

from __future__ import annotations

import subprocess
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from domain.corefile import PeerZone, custom_zones, relay_corefile
from domain.foreign_keys import zones_twice
from domain.settings.installed import DnsSettings
from toolchain import ensure

pytestmark = pytest.mark.engine

PEERS = [
    PeerZone("astring-mn.internal", (IPv4Address("127.0.0.7"),)),
    PeerZone("astring-us.internal", (IPv4Address("127.0.0.8"), IPv4Address("127.0.0.9"))),
]


@pytest.fixture
def coredns() -> Path:
    return ensure(["coredns"])["coredns"] / "coredns"


def starts(coredns: Path, corefile: str, tmp_path: Path, zones: int) -> str:
    """The output of a CoreDNS that lists so many zones within 10 s; it is ended then."""
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
            deadline = time.monotonic() + 10
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
    zones = custom_zones("astring-de.internal", [peer.zone for peer in PEERS], IPv4Address("10.43.0.53"), DnsSettings())
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
