"""`./isthmus preflight` against machines with OpenSSH's server: all faults of all of them in one run, and none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, Final

import pytest

from lab import machines, network
from lab.commands import wait_until
from tests.domain.samples import MN, changed, text
from tests.lab.raised import REPOSITORY, machine_at

pytestmark = [
    pytest.mark.link,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="machines need root"),
]

BRIDGE: Final = "isthmus-test-look"
GATEWAY: Final = IPv4Interface("10.79.1.1/24")
NAMES: Final = ("test-look-1", "test-look-2", "test-look-3")
ADDRESSES: Final = {name: GATEWAY.network[10 + number] for number, name in enumerate(NAMES, 1)}
AWAY: Final = IPv4Address("10.79.1.99")
"""Where nobody is."""


@dataclass(frozen=True)
class Site:
    """A project with a stack of these machines, and the key that they take."""

    directory: Path
    key: Path

    def preflight(self, *, expected: int) -> dict[str, Any]:
        command = [sys.executable, "-P", "-m", "cli", "preflight", "mn", "--json", "--key", str(self.key)]
        done = subprocess.run(
            network.enter(BRIDGE, [*command, "--directory", str(self.directory)]),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expected, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def stack(self, host_keys: dict[str, str], **more: dict[str, Any]) -> None:
        rows = [
            {
                "name": name,
                "address": str(ADDRESSES.get(name, AWAY)),
                "role": "server" if name == NAMES[0] else "agent",
                "router": name == NAMES[1],
                "host_key": host_key,
            }
            for name, host_key in host_keys.items()
        ]
        settings = {"peers": [], "on_premise.machines": rows, "network.node_cidr": str(GATEWAY.network), **more}
        (self.directory / "Pulumi.mn.yaml").write_text(text(changed(MN, settings)), encoding="utf-8")


@pytest.fixture(scope="module")
def site(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory, secret = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("key") / "id"
    (directory / "Pulumi.yaml").write_text("name: isthmus\nruntime: python\n", encoding="utf-8")
    key = machines.generate_host_key("login")
    secret.touch(mode=0o600)
    secret.write_text(key.private)
    try:
        network.create_bridge(BRIDGE, address=GATEWAY)
        for name, address in ADDRESSES.items():
            spec = machine_at(name, address, BRIDGE, GATEWAY)
            machines.create(replace(spec, authorized_keys=(key.public,), binds=()))
            machines.start(name)
        with ThreadPoolExecutor() as pool:
            list(pool.map(machines.wait_boot, NAMES))
        yield Site(directory, secret)
    finally:
        for name in NAMES:
            machines.destroy(name)
        network.delete_namespace(BRIDGE)


def host_keys() -> dict[str, str]:
    found = {name: machines.host_key(name) for name in NAMES}
    return {name: " ".join(key.split()[:2]) for name, key in found.items() if key is not None}


def state_of(name: str) -> str:
    """What a look must not change: files in the places where an installer works, units, addresses, rules."""
    seen = (
        "find /etc /usr/local /var/lib /root -newer /etc/machine-id -type f ! -name '*.journal*' ! -path '*/systemd/*'"
    )
    return machines.exec(name, ["sh", "-c", f"{seen} | sort; ip address; ip rule; ip route; nft list ruleset"]).stdout


def test_machines_as_they_come_pass_and_are_left_as_they_are(site: Site) -> None:
    site.stack(host_keys())
    before = {name: state_of(name) for name in NAMES}
    found = site.preflight(expected=0)
    assert found["problems"] == []
    assert not [remark for remark in found["remarks"] if "UDP" in remark], found["remarks"]
    assert {name: state_of(name) for name in NAMES} == before


def test_every_fault_of_every_machine_in_one_run(site: Site) -> None:
    first, second, third = NAMES
    copied = machines.exec(first, ["cat", "/etc/machine-id"], check=True).stdout.strip()
    assert copied
    breaking = {
        first: "mkdir -p /etc/rancher/k3s; systemd-run --unit=firewalld sleep 600;"
        "systemd-run --unit=squatter python3 -m http.server 10250",
        second: f"hostnamectl set-hostname {first}; nft add table inet shut;"
        "nft add chain inet shut in '{ type filter hook input priority 0; }';"
        "nft add rule inet shut in tcp dport 10250 drop; ip link add cni0 type bridge",
        third: "nft add table inet shut; nft add chain inet shut in '{ type filter hook input priority 0; }';"
        "nft add rule inet shut in udp dport 8472 drop; mv /usr/bin/flock /usr/bin/flock.away; mkdir -p /etc/cni/net.d;"
        f"touch /etc/cni/net.d/10-calico.conflist; systemd-run --unit=docker sleep 600; echo {copied} >/etc/machine-id",
    }
    for name, script in breaking.items():
        machines.exec(name, ["sh", "-euc", script], check=True)
    # systemd-run is content once the process is there, which is before that listens.
    wait_until(
        lambda: ":10250 " in machines.exec(first, ["ss", "-Hltn"], check=True).stdout,
        what="somebody listens where the kubelet does",
        deadline_seconds=60,
    )
    keys = host_keys()
    keys["test-look-4"] = keys[first]
    keys[third], wrong = keys[third], keys[second]
    site.stack(keys)
    found = site.preflight(expected=1)
    lost = [remark for remark in found["remarks"] if "UDP port 8472" in remark]
    # Where TCP is silent as well there is a word of that.
    assert [remark.partition(" did")[0] for remark in lost] == [f"{name}: {third}" for name in (first, second)], lost
    told = [problem["text"] for problem in found["problems"]]
    for part in (
        f"{first} runs firewalld",
        f"{first} has a k3s that this program did not install",
        f"{first} has somebody who listens on TCP port 10250",
        f"{first} gets no answer from {second} on TCP port 10250",
        f"{third} gets no answer from {second} on TCP port 10250",
        f"{second} has the host name of {first}",
        f"{second} has interfaces of another network of pods: cni0",
        f"{third} lacks flock",
        f"{third} has settings of another network of pods: /etc/cni/net.d/10-calico.conflist",
        f"{third} runs docker",
        f"{third} has the machine-id of {first}",
        f"test-look-4 can't be reached over SSH at {AWAY}, port 22",
    ):
        assert [sentence for sentence in told if part in sentence], (part, told)
    assert len(told) == 12, told

    site.stack({**host_keys(), third: wrong})
    told = [problem["text"] for problem in site.preflight(expected=1)["problems"]]
    assert [
        sentence
        for sentence in told
        if f"{third} is not the machine at {ADDRESSES[third]}, port 22 that host_key names" in sentence
    ]


def test_a_user_who_may_not_become_root_and_a_key_that_is_not_taken(site: Site) -> None:
    name = NAMES[2]
    script = (
        "useradd --create-home --shell /bin/sh person; install -d -o person -m 700 ~person/.ssh;"
        "install -o person -m 600 /root/.ssh/authorized_keys ~person/.ssh/authorized_keys"
    )
    machines.exec(name, ["sh", "-euc", script], check=True)
    site.stack(host_keys(), **{"on_premise.ssh": {"user": "person", "port": 22}})
    told = [problem["text"] for problem in site.preflight(expected=1)["problems"]]
    assert [sentence for sentence in told if f"{name} does not let person become root by `sudo -n`" in sentence], told
    for other in NAMES[:2]:
        assert [
            sentence for sentence in told if f"{other} does not let person in with the key of the stack" in sentence
        ], told
