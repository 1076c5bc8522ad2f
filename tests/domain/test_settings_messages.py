"""Every mistake in a stack file gives its message, word for word, and its good neighbour gives none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.problems import Problem
from tests.domain.samples import CLUSTER_SECRET, DE, GIVEN, HOST_KEYS, MN, REMOVE, changed, problems_of, said

BASES = {"de": ("de", DE), "mn": ("mn", MN), "given": ("mn", GIVEN)}
BAD: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "bad_settings.yaml").read_text(encoding="utf-8"))

FOUR_MACHINES = [
    {"name": f"m-{n}", "address": f"192.168.7.{n}", "role": role, "router": n == 14, "host_key": HOST_KEYS[0]}
    for n, role in ((11, "server"), (12, "server"), (13, "server"), (14, "agent"))
]
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("de", {}),
    ("mn", {}),
    ("given", {}),
    ("given", {"cilium": {"values": {"k8sServiceHost": "192.168.7.12", "k8sServicePort": 6443}}}),
    ("de", {"network.pod_cidr": "10.44.0.0/16"}),
    ("de", {"network.pod_cidr": "10.42.0.0/23"}),
    ("de", {"network.pod_cidr": "10.64.0.0/10"}),
    ("de", {"network.pod_cidr": "172.16.0.0/16"}),
    ("de", {"network.service_cidr": "10.43.0.0/22"}),
    ("de", {"network.service_cidr": "10.16.0.0/12"}),
    ("de", {"network.node_cidr": "10.0.1.0/26"}),
    ("de", {"network.node_cidr": "10.0.0.0/16"}),
    ("de", {"network.cluster_dns": "10.43.0.11"}),
    ("de", {"network.dns_zone": "de.mn-and-de.internal"}),
    ("mn", {"network.node_cidr": "203.0.113.0/24", "on_premise.machines.0.address": "203.0.113.1",
            "on_premise.machines.1.address": "203.0.113.254"}),
    ("de", {"hetzner.routers": REMOVE}),
    ("de", {"hetzner.control_plane.count": 3}),
    ("de", {"hetzner.workers.count": 9}),
    ("de", {"hetzner.workers.count": 0}),
    ("de", {"hetzner.location": "ash", "hetzner.network_zone": "us-east"}),
    ("de", {"hetzner.location": "new1", "hetzner.network_zone": "eu-new"}),
    ("de", {"hetzner.api_allowed_cidrs": ["0.0.0.0/0"]}),
    ("de", {"hetzner.network_cidr": "10.0.1.0/24"}),
    ("de", {"hetzner.labels": {"example.net/team": "platform", "empty": ""}}),
    ("de", {"hetzner.delete_protection": True}),
    ("mn", {"on_premise.machines": FOUR_MACHINES}),
    ("mn", {"on_premise.machines": FOUR_MACHINES, "network.pod_cidr": "10.52.0.0/22"}),
    ("mn", {"on_premise.machines.0.host_key": HOST_KEYS[0] + " root@mn-1"}),
    ("mn", {"on_premise.ssh": {}}),
    ("mn", {"on_premise.ssh": {"user": "debian", "port": 65535}}),
    ("de", {"k3s.version": "v1.35.5-rc1+k3s1"}),
    ("de", {"cilium": {"mtu": 1320}, "peer": {"cilium": {"mtu": 1320}}}),
    ("de", {"cilium": {"mtu": 1450}, "netbird": {"mtu": 1420},
            "peer": {"cilium": {"mtu": 1450}, "netbird": {"mtu": 1420}}}),
    ("de", {"cilium": {"values": {"securityContext": {"privileged": True}}}}),
    ("de", {"cilium": {"values": {"MTU": 1280, "hubble": {"enabled": True}, "bpf": {"masquerade": True}}}}),
    ("de", {"cilium": {"values": {"encryption": {"type": "wireguard", "enabled": True}}}}),
    ("de", {"netbird": {"management_url": "http://198.51.100.10:8080/"}}),
    ("de", {"netbird": {"agent_image": "registry.example.net:5000/netbird@sha256:" + "0a" * 32}}),
    ("de", {"netbird": {"agent_env": {"NB_RELAY_TRANSPORT": "ws"}}}),
    ("de", {"dns": {"relay_image": "coredns/coredns:1.14.5", "stale_seconds": 0, "record_ttl_seconds": 0}}),
    ("de", {"dns": {"relay_image": "registry.example.net/coredns:stable"}}),
    ("de", {"mirrors": {"k3s": "http://198.51.100.30/k3s", "registries": {"registry.example.net:5000": "http://m"}}}),
    ("de", {"hcloud:endpoint": "http://198.51.100.20/v1", "hcloud:pollInterval": "10ms",
            "hcloud:pollFunction": "constant"}),
    ("de", {"pulumi:disable-default-providers": ["hcloud"], "aws:region": "eu-central-1"}),
]  # fmt: skip


def check(stack: str, changes: dict[str, Any]) -> list[Problem]:
    """What is said of both stacks; under ``peer`` stand changes of the other one."""
    name, base = BASES[stack]
    other, other_base = ("mn", MN) if name == "de" else ("de", DE)
    own = {setting: value for setting, value in changes.items() if setting != "peer"}
    return problems_of(**{name: changed(base, own), other: changed(other_base, changes.get("peer", {}))})


def test_there_are_many_cases_and_none_is_there_twice() -> None:
    assert len(BAD) >= 130
    assert len({case["id"] for case in BAD}) == len(BAD)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["id"])
def test_bad(case: dict[str, Any]) -> None:
    changes = case.get("set", {}) | dict.fromkeys(case.get("remove", []), REMOVE)
    assert said(check(case["stack"], changes)) == case["says"]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["id"])
def test_bad_has_setting_rule_fix_and_line(case: dict[str, Any]) -> None:
    changes = case.get("set", {}) | dict.fromkeys(case.get("remove", []), REMOVE)
    for problem in check(case["stack"], changes):
        assert problem.setting
        assert problem.rule
        assert problem.fix
        assert problem.line is not None
        for secret in (CLUSTER_SECRET, "hunter2", "A2C8E62B"):
            assert secret not in str(problem)


@pytest.mark.parametrize(("stack", "changes"), GOOD, ids=[f"{n}-{stack}" for n, (stack, _) in enumerate(GOOD)])
def test_good(stack: str, changes: dict[str, Any]) -> None:
    assert said(check(stack, changes)) == []
