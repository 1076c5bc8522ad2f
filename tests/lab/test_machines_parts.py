"""What machines are made of, without making one: base trees, files, commands, control groups."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
import yaml

import lab
from lab import base, cgroups, machine_files, machines, network
from lab.base import Source
from lab.machine_files import File, HostKey
from lab.machines import Bridged, Public
from lab.machines.making import with_address
from lab.machines.power import init_command
from lab.machines.records import interface_of, plain

FILES = Path(lab.__file__).parent / "files"


class TestBaseTree:
    TARGETS = (
        "Debian|bookworm-updates|main|http://mirror.example/debian/\n"
        "Debian|bookworm|contrib|http://mirror.example/debian/\n"
        "Debian|bookworm|main|http://mirror.example/debian/\n"
        "Debian|bookworm-security|main|http://mirror.example/debian-security/\n"
    )

    def test_the_hosts_mirror_is_taken(self) -> None:
        assert base.parse_apt(self.TARGETS, "") == Source(mirror="http://mirror.example/debian")

    def test_a_host_that_has_no_debian_leaves_the_choice_to_debootstrap(self) -> None:
        assert base.parse_apt("Ubuntu|noble|main|http://archive.example/ubuntu/\n", "") == Source()

    @pytest.mark.parametrize(
        ("mirror", "proxy"),
        [("http://m.example/debian", "http://one:3128"), ("https://m.example/debian", "http://two:3128")],
    )
    def test_proxy_and_certificate_are_those_of_the_mirrors_scheme(self, mirror: str, proxy: str) -> None:
        settings = "HTTP='http://one:3128'\nHTTPS='http://two:3128'\nCA='/etc/ssl/own.pem'\n"
        expected = Source(mirror=mirror, proxy=proxy, ca_certificate="/etc/ssl/own.pem")
        assert base.parse_apt(f"Debian|bookworm|main|{mirror}/\n", settings) == expected

    def test_direct_is_no_proxy(self) -> None:
        assert base.parse_apt(self.TARGETS, "HTTP='DIRECT'\n").proxy is None

    def test_the_command_of_debootstrap(self) -> None:
        source = Source(mirror="http://m.example/debian", proxy="http://p:1", ca_certificate="/ca.pem")
        command, environment = base.debootstrap_command(Path("/t"), ["b", "a", "b"], Path("/cache"), source)
        assert command[:8] == [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "debootstrap",
        ]
        assert "--include=b,a" in command
        assert "--ca-certificate=/ca.pem" in command
        assert command[-3:] == ["bookworm", "/t", "http://m.example/debian"]
        assert environment["http_proxy"] == environment["https_proxy"] == "http://p:1"

    def test_the_key_depends_on_the_set_of_packages(self) -> None:
        assert base.tree_key(["a", "b"]) == base.tree_key(["b", "a", "b"])
        assert base.tree_key(["a", "b"]) != base.tree_key(["a"])


class TestFiles:
    KEY = HostKey(private="PRIVATE\n", public="ssh-ed25519 AAAA host")

    def files(self, user_data: str | None) -> dict[str, File]:
        made = machine_files.machine_files(
            hostname="mn-1",
            user_data=user_data,
            authorized_keys=("ssh-ed25519 AAAA me",),
            host_key=self.KEY,
            machine_id="0123",
            instance_id="i-1",
        )
        return {file.path: file for file in made}

    def test_without_user_data_cloud_init_is_off(self) -> None:
        files = self.files(None)
        assert files["/etc/cloud/cloud-init.disabled"].content == ""
        assert not [path for path in files if "seed" in path]

    def test_with_user_data_there_is_a_nocloud_seed(self) -> None:
        files = self.files("#cloud-config\n{}\n")
        assert "/etc/cloud/cloud-init.disabled" not in files
        seed = files["/var/lib/cloud/seed/nocloud/user-data"]
        assert (seed.content, seed.mode) == ("#cloud-config\n{}\n", 0o600)
        metadata = yaml.safe_load(files["/var/lib/cloud/seed/nocloud/meta-data"].content)
        assert metadata == {"instance-id": "i-1", "local-hostname": "mn-1"}
        config = yaml.safe_load(files["/etc/cloud/cloud.cfg.d/99-lab.cfg"].content)
        assert config["network"] == {"config": "disabled"}
        assert config["datasource_list"] == ["NoCloud"]

    def test_keys(self) -> None:
        files = self.files(None)
        assert files["/root/.ssh/authorized_keys"].content == "ssh-ed25519 AAAA me\n"
        assert files["/etc/ssh/ssh_host_ed25519_key"].mode == 0o600
        assert files["/etc/ssh/ssh_host_ed25519_key.pub"].content == "ssh-ed25519 AAAA host\n"

    def test_secrets_do_not_show(self) -> None:
        assert "PRIVATE" not in repr(self.KEY)
        assert "PRIVATE" not in repr(self.files(None))
        spec = machines.MachineSpec(name="a", hostname="a", user_data="#cloud-config SECRET", host_key=self.KEY)
        assert "SECRET" not in repr(spec)
        assert "PRIVATE" not in repr(spec)

    def test_the_upper_layer_keeps_the_attributes_of_the_lower_ones_directories(self, tmp_path: Path) -> None:
        upper, lower = tmp_path / "upper", tmp_path / "lower"
        upper.mkdir()
        (lower / "root").mkdir(parents=True)
        (lower / "root").chmod(0o700)
        files = [
            File(path="/root/.ssh/authorized_keys", content="key", mode=0o600),
            File(path="/etc/link", link="/dev/null"),
        ]
        machine_files.write(files, upper, lower)
        machine_files.write(files, upper, lower)
        modes = {
            path: (upper / path).stat().st_mode & 0o777 for path in ("root", "root/.ssh", "root/.ssh/authorized_keys")
        }
        assert modes == {"root": 0o700, "root/.ssh": 0o700, "root/.ssh/authorized_keys": 0o600}
        assert (upper / "etc/link").readlink() == Path("/dev/null")


def test_the_command_that_becomes_a_machine() -> None:
    command = init_command(
        Path("/s/m"),
        tree=Path("/tree"),
        hostname="mn-1",
        binds=["/from", "/to"],
        group=[Path("/sys/fs/cgroup/isthmus-lab/m")],
    )
    assert command == [
        *["unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--fork", "--kill-child"],
        *(str(FILES / "in-cgroup"), "/sys/fs/cgroup/isthmus-lab/m", "--"),
        *("unshare", "--cgroup", str(FILES / "machine-init")),
        *["/s/m/root", "/tree", "/s/m/upper", "/s/m/work", "mn-1", "/s/m/data", "/from", "/to"],
    ]


@pytest.mark.parametrize(
    "interface",
    [
        Public(address=IPv4Address("198.51.100.101")),
        Bridged(bridge_namespace="isthmus-hnet-1", ifname="enp7s0", address=IPv4Interface("10.0.1.2/24"), mtu=1450),
        Bridged(
            bridge_namespace="isthmus-mn-nat",
            ifname="eth0",
            address=IPv4Interface("192.168.7.11/24"),
            gateway=IPv4Address("192.168.7.1"),
            mac_address="86:00:00:00:00:02",
        ),
    ],
)
def test_an_interface_survives_its_record(interface: machines.Interface) -> None:
    recorded = json.loads(json.dumps(plain(vars(interface))))
    assert interface_of(recorded) == interface


def test_every_network_card_has_an_address_of_its_own() -> None:
    bare = Bridged(bridge_namespace="isthmus-mn-nat", ifname="eth0", address=IPv4Interface("192.168.7.11/24"))
    made = [with_address(bare) for _ in range(20)]
    found = {interface.mac_address for interface in made if isinstance(interface, Bridged)}
    assert len(found) == 20
    assert all(re.fullmatch(r"02(:[0-9a-f]{2}){5}", str(address)) for address in found)
    given = replace(bare, mac_address="86:00:00:00:00:02")
    assert with_address(given) == given
    outside = Public(address=IPv4Address("198.51.100.101"))
    assert with_address(outside) == outside


def test_names_of_interfaces_fit_the_kernel() -> None:
    assert network.public_port(IPv4Address("198.51.100.101")) == "pub-100-101"
    assert network.public_port(IPv4Address("198.51.255.255")) == "pub-255-255"
    port = network.bridge_port("isthmus-a-machine-with-a-very-long-name", "enp7s0")
    assert len(port) <= 15
    assert port != network.bridge_port("isthmus-a-machine-with-a-very-long-name", "enp8s0")


class TestHierarchies:
    def test_the_hybrid_layout(self) -> None:
        mounts = (
            "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0\n"
            "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0\n"
            "cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n"
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n"
            "cgroup /var/lib/other/cpu cgroup rw,cpu,cpuacct 0 0\n"
        )
        found = [
            (str(hierarchy.group), hierarchy.version, hierarchy.controllers)
            for hierarchy in cgroups.hierarchies(mounts)
        ]
        assert found == [
            ("/sys/fs/cgroup/cpu,cpuacct/isthmus-lab", 1, ("cpu", "cpuacct")),
            ("/sys/fs/cgroup/systemd/isthmus-lab", 1, ("name=systemd",)),
            ("/sys/fs/cgroup/unified/isthmus-lab", 2, ()),
        ]

    def test_the_unified_layout(self) -> None:
        (found,) = cgroups.hierarchies(
            "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"
        )
        assert (str(found.group), found.version) == ("/sys/fs/cgroup/isthmus-lab", 2)


@pytest.mark.parametrize("name", ["in-cgroup", "machine-init"])
def test_shell_files_are_clean(name: str) -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), FILES / name], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")
