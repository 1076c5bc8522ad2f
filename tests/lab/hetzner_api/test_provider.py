"""The real Pulumi engine and the real Hetzner provider against the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.hetzner_api.conftest import StandIn
from toolchain import pulumi as toolchain_pulumi

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PASSPHRASE = "only-for-this-test"
USER_DATA = "#cloud-config\n# the-secret-of-this-test\n"
COMMAND_DEADLINE_SECONDS = 120

PROGRAM = '''
"""What the Hetzner half of the project creates, one of each."""

import pulumi
import pulumi_hcloud as hcloud

config = pulumi.Config("test")
provider = hcloud.Provider(
    "hcloud",
    token=config.require_secret("token"),
    endpoint=config.require("endpoint"),
    poll_interval="20ms",
    poll_function="constant",
)
options = pulumi.ResourceOptions(provider=provider)
network = hcloud.Network("network", name="de", ip_range="10.0.0.0/16", labels={"cluster": "de"}, opts=options)
subnet = hcloud.NetworkSubnet(
    "subnet",
    network_id=network.id.apply(int),
    type="cloud",
    network_zone="eu-central",
    ip_range="10.0.1.0/24",
    opts=options,
)
rules = [
    hcloud.FirewallRuleArgs(
        direction="in", protocol="tcp", port=port, source_ips=["203.0.113.0/24"], description=f"port {port}"
    )
    for port in config.require_object("ports")
]
firewall = hcloud.Firewall("firewall", name="de", rules=rules, labels={"cluster": "de"}, opts=options)
group = hcloud.PlacementGroup("group", name="de", type="spread", opts=options)
key = hcloud.SshKey("key", name="de", public_key=config.require("publicKey"), opts=options)
for number in (1, 2):
    server = hcloud.Server(
        f"server-{number}",
        name=f"de-{number}",
        server_type="cx23",
        image="debian-12",
        location="fsn1",
        ssh_keys=[key.id],
        user_data=config.require_secret("userData"),
        firewall_ids=[firewall.id.apply(int)],
        placement_group_id=group.id.apply(int),
        networks=[hcloud.ServerNetworkArgs(network_id=network.id.apply(int), ip=f"10.0.1.{9 + number}")],
        public_nets=[hcloud.ServerPublicNetArgs(ipv4_enabled=True, ipv6_enabled=False)],
        labels={"cluster": "de"},
        opts=pulumi.ResourceOptions(provider=provider, depends_on=[subnet]),
    )
    pulumi.export(f"address{number}", server.ipv4_address)
'''


class Stack:
    """A stack of the program in a directory of its own, with a state of its own."""

    def __init__(self, directory: Path, endpoint: str, token: str, public_key: str) -> None:
        self._directory = directory
        self._environment = {
            "PATH": f"{toolchain_pulumi.pulumi_bin()}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_HOME": str(toolchain_pulumi.pulumi_home(plugins=("hcloud",), directory=directory / "home")),
            "PULUMI_BACKEND_URL": f"file://{directory}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_PYTHON_CMD": sys.executable,
            "HOME": str(directory),
        }
        (directory / "Pulumi.yaml").write_text("name: hetzner-stand-in-test\nruntime: python\n")
        (directory / "__main__.py").write_text(PROGRAM)
        self.run("stack", "init", "test")
        self.configure("endpoint", endpoint)
        self.configure("publicKey", public_key)
        self.configure("ports", '["22", "6443"]')
        self.configure("token", token, "--secret")
        self.configure("userData", USER_DATA, "--secret")

    def configure(self, key: str, value: str, *options: str) -> None:
        self.run("config", "set", *options, f"test:{key}", "--", value)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run the CLI, check its exit code, return all of its output."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self._directory,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_DEADLINE_SECONDS,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def output(self) -> Any:
        return json.loads(self.run("stack", "output", "--json"))


@pytest.fixture
def stack(tmp_path: Path, api: Any, public_key: str) -> Stack:
    directory = tmp_path / "project"
    directory.mkdir()
    return Stack(directory, api.endpoint, "t" * 64, public_key)


def test_up_preview_refresh_destroy(api: StandIn, stack: Stack) -> None:
    printed = stack.run("up", "--yes", "--skip-preview")
    assert "the-secret-of-this-test" not in printed
    assert set(stack.output().values()) == {"198.51.100.101", "198.51.100.102"}
    assert sorted(api.backend.machines) == ["de-1", "de-2"]
    for machine in api.backend.machines.values():
        assert (machine.running, machine.request.user_data) == (True, USER_DATA)
        assert list(machine.interfaces) == ["enp7s0"]
    assert [len(policy.rules) for policy in api.backend.firewalls.values()] == [2, 2]
    assert "the-secret-of-this-test" not in stack.run("stack", "export")

    stack.run("preview", "--expect-no-changes")
    stack.run("refresh", "--yes", "--expect-no-changes")

    stack.configure("ports", '["22"]')
    stack.run("up", "--yes", "--skip-preview")
    assert [len(policy.rules) for policy in api.backend.firewalls.values()] == [1, 1]

    stack.run("destroy", "--yes", "--skip-preview")
    client = api.client
    assert client.servers.get_all() == client.networks.get_all() == client.firewalls.get_all() == []
    assert client.ssh_keys.get_all() == client.placement_groups.get_all() == client.primary_ips.get_all() == []
    assert api.backend.machines == {}


def test_the_provider_tries_again_when_it_should(api: StandIn, stack: Stack) -> None:
    api.order(
        {"method": "POST", "path": "^/networks$", "answer": 429},
        {"method": "POST", "path": "/add_subnet$", "answer": 409},
        {"method": "POST", "path": "/attach_to_network$", "answer": 423},
        {"path": "^/actions", "nth": 3, "answer": 429},
    )
    stack.run("up", "--yes", "--skip-preview")
    stack.run("preview", "--expect-no-changes")


def test_an_up_that_failed_goes_on(api: StandIn, stack: Stack) -> None:
    api.order({"method": "POST", "path": "/attach_to_network$", "nth": 1, "count": 99, "answer": 403})
    printed = stack.run("up", "--yes", "--skip-preview", code=1)
    assert "ordered by a test (forbidden, " in printed
    api.order()
    stack.run("up", "--yes", "--skip-preview")
    stack.run("preview", "--expect-no-changes")
    assert sorted(server.name for server in api.client.servers.get_all()) == ["de-1", "de-2"]
    stack.run("destroy", "--yes", "--skip-preview")
    assert api.backend.machines == {}
