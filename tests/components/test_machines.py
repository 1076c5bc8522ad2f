"""Where clusters run: what Hetzner and on-premise machines get, in detail."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import tarfile
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pulumi_hcloud as hcloud
import pytest
import yaml

from components.cluster import Shell
from components.hetzner import firewall_rules
from components.on_premise import INSTALL, LEAVE, UNINSTALL
from domain.keys import ClusterKeys
from tests.components.recording import GIVEN_KUBECONFIG, Run, run_stack
from tests.domain.samples import CLUSTER_SECRET, DE, GIVEN, HOST_KEYS, MN, SSH_PRIVATE_KEY, changed


@pytest.fixture(scope="module")
def de(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """de, linked with mn."""
    return run_stack(tmp_path_factory.mktemp("de"), "de")


@pytest.fixture(scope="module")
def mn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """mn, linked with de."""
    return run_stack(tmp_path_factory.mktemp("mn"), "mn")


class TestHetzner:
    def test_server(self, de: Run) -> None:
        server = de.one("hcloud:index/server:Server", "de-agent-1")
        network = de.one("hcloud:index/network:Network")
        plain = {key: value for key, value in server.inputs.items() if key not in ("userData", "networks")}
        assert plain == {
            "name": "de-agent-1",
            "serverType": "cx23",
            "image": "debian-12",
            "location": "fsn1",
            "sshKeys": plain["sshKeys"],
            "firewallIds": plain["firewallIds"],
            "placementGroupId": plain["placementGroupId"],
            "publicNets": [{"ipv4Enabled": True, "ipv6Enabled": False}],
            "labels": {"isthmus-cluster": "de"},
            "deleteProtection": False,
            "rebuildProtection": False,
        }
        assert server.inputs["networks"] == [
            {"networkId": server.inputs["networks"][0]["networkId"], "ip": "10.0.1.31", "aliasIps": []}
        ]
        assert isinstance(server.inputs["networks"][0]["networkId"], float), "an id is a number where it is an input"
        assert isinstance(plain["firewallIds"][0], float)
        assert isinstance(plain["sshKeys"][0], str)
        assert network.inputs["ipRange"] == "10.0.0.0/16"

    def test_running_nodes_are_not_replaced_for_their_first_boot(self, de: Run) -> None:
        for server in de.some("hcloud:index/server:Server"):
            assert server.ignore_changes == ("userData", "sshKeys", "image")

    def test_the_subnet_is_there_first(self, de: Run) -> None:
        subnet = de.one("hcloud:index/networkSubnet:NetworkSubnet")
        assert subnet.inputs["ipRange"] == "10.0.1.0/24"
        for server in de.some("hcloud:index/server:Server"):
            assert subnet.name in server.depends_on
            assert server.timeouts == {"create": "30m", "delete": "15m"}

    def test_user_data_is_secret_and_that_of_the_node(self, de: Run) -> None:
        for server in de.some("hcloud:index/server:Server"):
            assert "userData" in server.secret_inputs
            document = yaml.safe_load(server.inputs["userData"])
            assert document["hostname"] == server.name
            host_key = ClusterKeys.derive(CLUSTER_SECRET, "de").host_key(server.name)
            assert document["ssh_keys"]["ed25519_public"] == host_key.public

    @pytest.mark.parametrize("protected", [False, True])
    def test_protection(self, tmp_path: Path, protected: bool) -> None:
        found = run_stack(tmp_path, "de", config=changed(DE, {"hetzner.delete_protection": protected}))
        for kind in ("hcloud:index/server:Server", "hcloud:index/network:Network"):
            for item in found.some(kind):
                assert item.protect is protected
                assert item.inputs["deleteProtection"] is protected
        assert not found.one("hcloud:index/firewall:Firewall").protect

    def test_labels(self, tmp_path: Path) -> None:
        found = run_stack(tmp_path, "de", config=changed(DE, {"hetzner.labels": {"team": "net"}}))
        for kind in ("network:Network", "firewall:Firewall", "placementGroup:PlacementGroup", "sshKey:SshKey"):
            assert found.one(f"hcloud:index/{kind}").inputs["labels"] == {"team": "net", "isthmus-cluster": "de"}

    def test_kubeconfig_comes_from_the_first_server_with_its_host_key(self, de: Run) -> None:
        fetched = de.one("command:remote:Command")
        keys = ClusterKeys.derive(CLUSTER_SECRET, "de")
        connection = fetched.inputs["connection"]
        assert connection["hostKey"] == keys.host_key("de-server-1").public
        assert connection["privateKey"] == keys.ssh_private_key
        assert connection["host"].startswith("198.51.100.")
        assert fetched.inputs["create"] == "timeout -k 30 1260 sh -s -- 1200"
        assert fetched.inputs["logging"] == "stderr", "standard output is the kubeconfig"
        assert {"stdout", "stderr"} <= set(fetched.additional_secret_outputs)
        assert f"server: https://{connection['host']}:6443" in de.outputs["kubeconfig"].value

    def test_provider_settings(self, tmp_path: Path) -> None:
        config = changed(DE, {"hcloud:endpoint": "http://192.0.2.1/v1", "hcloud:pollInterval": "1s"})
        provider = run_stack(tmp_path, "de", config=config).one("pulumi:providers:hcloud")
        assert provider.inputs["endpoint"] == "http://192.0.2.1/v1"
        assert provider.inputs["pollInterval"] == "1s"
        assert "token" in provider.secret_inputs


def test_firewall_lets_in_what_is_named() -> None:
    rules = firewall_rules([IPv4Network("203.0.113.0/24")], [IPv4Network("192.0.2.0/28")], 51820)
    assert [_rule(rule) for rule in rules] == [
        ("in", "icmp", None, ["0.0.0.0/0", "::/0"]),
        ("in", "udp", "51820", ["0.0.0.0/0", "::/0"]),
        ("in", "tcp", "6443", ["203.0.113.0/24"]),
        ("in", "tcp", "22", ["192.0.2.0/28"]),
    ]


def test_firewall_without_sources_has_no_rule() -> None:
    assert [_rule(rule)[1] for rule in firewall_rules([], [], 51820)] == ["icmp", "udp"]


def _rule(rule: hcloud.FirewallRuleArgs) -> tuple[Any, ...]:
    return rule.direction, rule.protocol, rule.port, rule.source_ips


class TestOnPremise:
    def test_commands(self, mn: Run) -> None:
        command = mn.one("command:remote:Command", "machines-mn-1")
        assert command.inputs["create"] == command.inputs["update"] == INSTALL
        assert command.inputs["delete"] == (
            "if [ -d /usr/local/lib/isthmus ]; then touch /usr/local/lib/isthmus/leaves; fi"
        )
        assert command.inputs["logging"] == "stderr"
        assert command.timeouts == {"create": "30m", "update": "30m", "delete": "15m"}
        assert "connection" in command.secret_inputs or "stdin" in command.secret_inputs
        connection = command.inputs["connection"]
        assert (connection["host"], connection["user"], connection["port"]) == ("192.168.7.11", "root", 22.0)
        assert (connection["hostKey"], connection["privateKey"]) == (HOST_KEYS[0], SSH_PRIVATE_KEY)

    def test_machines_leave_by_a_command_that_runs_at_no_other_time(self, mn: Run) -> None:
        command = mn.one("command:remote:Command", "machines-mn-2-uninstall")
        assert {"create", "update", "stdin"}.isdisjoint(command.inputs)
        assert command.inputs["delete"] == (
            "if [ -e /usr/local/lib/isthmus/leaves ]; then "
            "exec timeout -k 30 600 /usr/local/lib/isthmus/uninstall-k3s; fi"
        )
        assert command.timeouts == {"delete": "15m"}

    def test_a_machine_that_is_away_holds_up_nothing_but_itself(self, mn: Run) -> None:
        """Servers and agents wait for the first server; what is in the cluster waits for that one alone."""
        commands = {command.name: set(command.depends_on) for command in mn.of("command:remote:Command")}
        assert commands == {
            "machines-mn-1-uninstall": set(),
            "machines-mn-2-uninstall": {"machines-mn-1-uninstall"},
            "machines-mn-1": {"machines-mn-1-uninstall"},
            "machines-mn-2": {"machines-mn-2-uninstall", "machines-mn-1"},
            "machines-kubeconfig": {"machines-mn-1", "machines-mn-1-uninstall", "machines-mn-2-uninstall"},
        }

    def test_archive_holds_the_node(self, mn: Run) -> None:
        command = mn.one("command:remote:Command", "machines-mn-2")
        assert "stdin" in command.secret_inputs
        archive = tarfile.open(fileobj=io.BytesIO(base64.b64decode(command.inputs["stdin"])))  # noqa: SIM115
        names = archive.getnames()
        assert "etc/rancher/k3s/config.yaml" in names
        config = yaml.safe_load(archive.extractfile("etc/rancher/k3s/config.yaml").read())  # type: ignore[union-attr]
        assert config["server"] == "https://192.168.7.11:6443"
        assert config["token"] == ClusterKeys.derive(CLUSTER_SECRET, "mn").k3s_token

    def test_same_settings_same_bytes(self, mn: Run, tmp_path: Path) -> None:
        again = run_stack(tmp_path, "mn")
        for name in ("machines-mn-1", "machines-mn-2"):
            first, second = (found.one("command:remote:Command", name).inputs["stdin"] for found in (mn, again))
            assert first == second

    def test_nothing_secret_on_a_command_line(self, mn: Run) -> None:
        token = ClusterKeys.derive(CLUSTER_SECRET, "mn").k3s_token
        for command in mn.some("command:remote:Command"):
            for key in ("create", "update", "delete"):
                assert token not in str(command.inputs.get(key))

    def test_another_user_goes_by_sudo(self, tmp_path: Path) -> None:
        found = run_stack(tmp_path, "mn", config=changed(MN, {"on_premise.ssh": {"user": "admin", "port": 2222}}))
        command = found.one("command:remote:Command", "machines-mn-1")
        assert command.inputs["create"] == f"sudo -n sh -c '{INSTALL}'"
        assert command.inputs["connection"]["port"] == 2222.0
        fetched = found.one("command:remote:Command", "machines-kubeconfig")
        assert fetched.inputs["create"] == "sudo -n sh -c 'timeout -k 30 1260 sh -s -- 1200'"

    def test_install_unpacks_and_runs(self, tmp_path: Path) -> None:
        """The command itself, with another root than /."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            text = b"#!/bin/sh\necho installed\n"
            entry = tarfile.TarInfo("usr/local/lib/isthmus/install-k3s")
            entry.mode, entry.size = 0o755, len(text)
            tar.addfile(entry, io.BytesIO(text))

        def run(given: bytes) -> subprocess.CompletedProcess[bytes]:
            command = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", INSTALL)
            command = command.replace("--directory /", f"--directory {tmp_path}")
            return subprocess.run(["sh", "-c", command], input=given, capture_output=True, timeout=20)

        encoded = base64.b64encode(archive.getvalue())
        done = run(encoded)
        assert (done.returncode, done.stdout) == (0, b"installed\n"), done.stderr
        assert run(encoded).returncode == 0
        assert run(b"no archive").returncode != 0

    def test_only_a_machine_that_was_told_to_leave_is_uninstalled(self, tmp_path: Path) -> None:
        """An earlier version of the program deletes the resource that it doesn't know, of a cluster that stays."""
        ours = tmp_path / "usr/local/lib/isthmus"

        def run(command: str) -> str:
            moved = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", command).replace(
                "--directory /", "--directory /dev/null"
            )
            done = subprocess.run(["sh", "-c", moved], input="", capture_output=True, text=True, timeout=20)
            return done.stdout

        assert run(LEAVE) == run(UNINSTALL) == "", "nothing was ever installed"
        assert not ours.exists()
        ours.mkdir(parents=True)
        (ours / "uninstall-k3s").write_text("#!/bin/sh\necho uninstalled\n")
        (ours / "uninstall-k3s").chmod(0o755)
        assert run(UNINSTALL) == ""
        run(LEAVE)
        assert run(UNINSTALL) == "uninstalled\n"
        run(INSTALL)  # it fails at the archive, and the machine is one that stays again
        assert run(UNINSTALL) == ""

    def test_k3s_of_somebody_else_stays_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "etc/rancher/k3s").mkdir(parents=True)
        (tmp_path / "etc/rancher/k3s/config.yaml").write_text("token: theirs\n")
        command = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", INSTALL)
        done = subprocess.run(["sh", "-c", command], input="", capture_output=True, text=True, timeout=20)
        assert done.returncode == 1
        assert done.stderr == (
            f"k3s that was not put here by this program is on this machine, see {tmp_path}/etc/rancher/k3s: its data "
            "would be lost. Give the cluster by on_premise.kubeconfig, or take k3s off the machine first\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["etc"]

    def test_netbird_of_somebody_else_stays_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "sys/class/net/wt0").mkdir(parents=True)
        command = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", INSTALL)
        done = subprocess.run(["sh", "-c", command], input="", capture_output=True, text=True, timeout=20)
        assert done.returncode == 1
        assert done.stderr == (
            "NetBird runs on this machine already, its interface wt0 is there: the agent of the router would share its "
            "interface, routes and addresses. Take it off the machine first\n"
        )
        # On a machine of ours it is the router's own.
        (tmp_path / "usr/local/lib/isthmus").mkdir(parents=True)
        done = subprocess.run(["sh", "-c", command], input="x", capture_output=True, text=True, timeout=20)
        assert "NetBird" not in done.stderr

    def test_an_upload_that_was_cut_off_installs_nothing_of_somebody_else(self) -> None:
        """The folder that marks a machine as ours comes first: what was unpacked in part is ours the next time."""
        assert INSTALL.index("mkdir -p /usr/local/lib/isthmus") < INSTALL.index("tar --extract")


class TestExisting:
    def test_only_labels_on_the_router(self, tmp_path: Path) -> None:
        found = run_stack(tmp_path, "mn", config=GIVEN)
        patch = found.one(":NodePatch")
        assert patch.inputs["metadata"] == {
            "name": "worker-b",
            "labels": {"isthmus.dev/router": "true"},
            "annotations": {"pulumi.com/patchForce": "true", "pulumi.com/patchFieldManager": "isthmus"},
        }
        assert found.of("command:") == []
        provider = found.one("pulumi:providers:kubernetes")
        assert provider.inputs["context"] == "mn"
        assert provider.inputs["kubeconfig"] == GIVEN_KUBECONFIG
        assert "kubeconfig" in provider.secret_inputs
        assert "node-labels-worker-b" in found.one("Release", "isthmus-cilium").depends_on


def test_kubernetes_provider_survives_an_unknown_kubeconfig(de: Run) -> None:
    inputs = de.one("pulumi:providers:kubernetes").inputs
    assert inputs["clusterIdentifier"] == "de"
    assert inputs["enableConfigMapMutable"] == "true"
    assert inputs["enableSecretMutable"] == "true"


def test_a_shell_always_has_a_host_key() -> None:
    with pytest.raises(TypeError, match="host_key"):
        Shell("192.0.2.1", "key")  # type: ignore[call-arg]
