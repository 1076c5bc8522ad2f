"""Machines at Hetzner: servers, network, firewall, and the order in which they change."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pulumi_hcloud as hcloud
import pytest
import yaml

from components.hetzner import firewall_rules
from domain.keys import ClusterKeys
from tests.components.recording import Run, run_stack
from tests.components.several_servers import AT_HETZNER
from tests.domain.samples import CLUSTER_SECRET, DE, changed


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


def test_servers_at_hetzner_are_changed_one_after_the_other(tmp_path: Path) -> None:
    """A changed type switches a server off, and etcd needs two of three."""
    found = run_stack(tmp_path, "de", config=AT_HETZNER)
    after = {
        server.name: {name for name in server.depends_on if name.startswith("de-")}
        for server in found.some("hcloud:index/server:Server")
    }
    assert after == {
        "de-server-1": set(),
        "de-server-2": {"de-server-1"},
        "de-server-3": {"de-server-2"},
        "de-agent-1": set(),
        "de-agent-2": {"de-agent-1"},
    }


POOLS = {
    "hetzner.pools": {
        "web": {"server_type": "cx33", "addresses": "10.0.1.128/25", "count": 11},
        "db": {
            "server_type": "ccx23", "addresses": "10.0.1.64/28", "members": [1, 3], "location": "nbg1",
            "image": "debian-13", "taints": ["workload=db:NoSchedule"],
        },
    }
}  # fmt: skip


def test_servers_of_pools(tmp_path: Path) -> None:
    found = run_stack(tmp_path, "de", config=changed(DE, POOLS))
    server = found.one("hcloud:index/server:Server", "de-db-3").inputs
    assert {name: server[name] for name in ("serverType", "location", "image")} == {
        "serverType": "ccx23", "location": "nbg1", "image": "debian-13",
    }  # fmt: skip
    assert server["networks"][0]["ip"] == "10.0.1.67"
    groups = [group.name for group in found.some("hcloud:index/placementGroup:PlacementGroup")]
    assert sorted(groups) == ["isthmus-de", "isthmus-de-db-1", "isthmus-de-web-1", "isthmus-de-web-2"]
    after = {
        server.name: {name for name in server.depends_on if name.startswith("de-")}
        for server in found.some("hcloud:index/server:Server")
    }
    assert after["de-db-1"] == set(), "the servers of a pool wait for no other's"
    assert after["de-db-3"] == {"de-db-1"}
    assert after["de-web-2"] == {"de-web-1"}
    members = {
        registration.inputs["node"]: registration
        for registration in found.registrations
        if registration.type.endswith(":NodeMember")
    }
    assert "de-db-3" in members["de-db-3"].depends_on, "it leaves before its machine goes"
    assert "machines-de-server-1-member" in members["de-db-3"].depends_on, "and before the server that it leaves by"


def without_numbers(value: Any) -> Any:
    """Inputs without those of :data:`NUMBERED`, at any depth."""
    if isinstance(value, dict):
        return {name: without_numbers(inner) for name, inner in value.items() if name not in NUMBERED}
    return [without_numbers(inner) for inner in value] if isinstance(value, list) else value


def test_a_pool_that_comes_or_goes_changes_no_other_machine(tmp_path: Path) -> None:
    """Nothing that is registered of another machine differs."""

    def registered(name: str, pools: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        found = run_stack(tmp_path / name, "de", config=changed(DE, {"hetzner.pools": pools}))
        return {
            f"{registration.type} {registration.name}": (
                without_numbers(registration.inputs),
                registration.ignore_changes,
            )
            for registration in found.registrations
            if registration.type.startswith(("hcloud:", "command:")) or registration.type.endswith(":NodeMember")
        }

    pools: dict[str, Any] = POOLS["hetzner.pools"]
    new = {"cache": {"server_type": "cx23", "addresses": "10.0.1.96/28", "count": 1}, "web": pools["web"]}
    before, after = registered("before", pools), registered("after", new)
    went = {key.rpartition(" ")[2] for key in before.keys() - after.keys()}
    came = {key.rpartition(" ")[2] for key in after.keys() - before.keys()}
    assert went == {"isthmus-de-db-1", *(f"{pre}de-db-{n}{post}" for n in (1, 3) for pre, post in FORMS)}
    assert came == {"isthmus-de-cache-1", *(f"{pre}de-cache-1{post}" for pre, post in FORMS)}
    kept = before.keys() & after.keys()
    assert len(kept) > 2 * 13
    assert {key: before[key] for key in kept} == {key: after[key] for key in kept}


NUMBERED = {
    "addresses",
    "connection",
    "firewallIds",
    "networkId",
    "placementGroupId",
    "serverId",
    "sshKeys",
    "triggers",
}
"""Inputs with numbers and addresses that are given in the order in which resources happen to be made."""
FORMS = (("", ""), ("machines-", "-member"))
"""What is before and behind a node's name in those of its resources."""
