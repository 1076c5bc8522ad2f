"""A setting without effect is a lie: each one, changed, changes what the whole program registers.

The table has to name every setting of the models; one that is missing fails the test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domain.fleet import check_files
from domain.settings import SECTIONS, HcloudSettings, Section, StackSettings, item_model_of, model_of
from tests.components.recording import (
    GIVEN_KUBECONFIG,
    LINKS,
    SECRET_VALUES,
    Run,
    engine_config_of,
    program,
    run,
    write_stack_files,
)
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, changed, said, text

BASES: dict[str, tuple[str, dict[str, Any]]] = {"de": ("de", DE), "mn": ("mn", MN), "given": ("mn", GIVEN)}

EFFECTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "network.pod_cidr": ("de", {"network.pod_cidr": "10.44.0.0/16"}, "isthmus-de-pods-resource"),
    "network.service_cidr": ("de", {"network.service_cidr": "10.45.0.0/16"}, "isthmus-dns-relay"),
    "network.node_cidr": ("de", {"network.node_cidr": "10.0.2.0/24"}, "isthmus-de"),
    "network.dns_zone": ("de", {"network.dns_zone": "de.internal"}, "coredns-custom"),
    "network.cluster_dns": ("de", {"network.cluster_dns": "10.43.0.11"}, "de-server-1"),
    "peers": ("de", {"peers": [], "peer": {"peers": []}}, "isthmus-to-mn"),
    "hetzner.location": ("de", {"hetzner.location": "nbg1"}, "de-agent-1"),
    "hetzner.network_zone": (
        "de",
        {"hetzner.network_zone": "us-east", "hetzner.location": "ash"},
        "isthmus-de",
    ),
    "hetzner.network_cidr": ("de", {"hetzner.network_cidr": "10.0.0.0/20"}, "isthmus-de"),
    "hetzner.image": ("de", {"hetzner.image": 161547269}, "de-agent-1"),
    "hetzner.control_plane.server_type": ("de", {"hetzner.control_plane.server_type": "cx33"}, "de-server-1"),
    "hetzner.control_plane.count": ("de", {"hetzner.control_plane.count": 3}, "de-server-3"),
    "hetzner.workers.server_type": ("de", {"hetzner.workers.server_type": "cx33"}, "de-agent-1"),
    "hetzner.workers.count": ("de", {"hetzner.workers.count": 2}, "de-agent-2"),
    "hetzner.api_allowed_cidrs": ("de", {"hetzner.api_allowed_cidrs": ["198.51.100.0/24"]}, "isthmus-de"),
    "hetzner.ssh_allowed_cidrs": ("de", {"hetzner.ssh_allowed_cidrs": ["198.51.100.0/24"]}, "isthmus-de"),
    "hetzner.labels": ("de", {"hetzner.labels": {"team": "platform"}}, "de-agent-1"),
    "hetzner.delete_protection": ("de", {"hetzner.delete_protection": True}, "de-agent-1"),
    "on_premise.machines.N.name": ("mn", {"on_premise.machines.0.name": "mn-7"}, "mn-7"),
    "on_premise.machines.N.address": ("mn", {"on_premise.machines.0.address": "192.168.7.17"}, "mn-1"),
    "on_premise.machines.N.role": (
        "mn",
        {"on_premise.machines.0.role": "agent", "on_premise.machines.1.role": "server"},
        "mn-1",
    ),
    "on_premise.machines.N.router": (
        "mn",
        {"on_premise.machines.0.router": True, "on_premise.machines.1.router": False},
        "isthmus-mn-peers",
    ),
    "on_premise.machines.N.host_key": ("mn", {"on_premise.machines.0.host_key": HOST_KEYS[1]}, "mn-1"),
    "on_premise.ssh.user": ("mn", {"on_premise.ssh.user": "debian"}, "mn-1"),
    "on_premise.ssh.port": ("mn", {"on_premise.ssh.port": 2222}, "mn-1"),
    "on_premise.kubeconfig.context": ("given", {"on_premise.kubeconfig.context": "other"}, "mn"),
    "k3s.version": ("de", {"k3s.version": "v1.35.0+k3s1"}, "de-agent-1"),
    "k3s.sha256": ("de", {"k3s.sha256": "6a" * 32}, "de-agent-1"),
    "k3s.server_config": ("de", {"k3s.server_config": {"etcd-expose-metrics": True}}, "de-server-1"),
    "k3s.agent_config": ("de", {"k3s.agent_config": {"kubelet-arg": ["max-pods=200"]}}, "de-agent-1"),
    "cilium.version": ("de", {"cilium": {"version": "1.19.5"}}, "isthmus-cilium"),
    "cilium.mtu": ("de", {"cilium": {"mtu": 1270}, "peer": {"cilium": {"mtu": 1270}}}, "isthmus-cilium"),
    "cilium.values": ("de", {"cilium": {"values": {"hubble": {"enabled": True}}}}, "isthmus-cilium"),
    "netbird.management_url": (
        "de",
        {"netbird": {"management_url": "https://nb.example.net"}},
        "isthmus-netbird-operator",
    ),
    "netbird.operator_version": ("de", {"netbird": {"operator_version": "0.8.1"}}, "isthmus-netbird-operator"),
    "netbird.agent_image": ("de", {"netbird": {"agent_image": "netbirdio/netbird:0.77.2"}}, "networkrouter-isthmus-de"),
    "netbird.underlay_mtu": (
        "de",
        {"netbird": {"underlay_mtu": 1380}, "peer": {"netbird": {"underlay_mtu": 1380}}},
        "isthmus-cilium",
    ),
    "netbird.wireguard_port": ("de", {"netbird": {"wireguard_port": 51821}}, "isthmus-de"),
    "dns.relay_image": ("de", {"dns": {"relay_image": "coredns/coredns:1.14.8"}}, "isthmus-dns-relay"),
    "dns.record_ttl_seconds": ("de", {"dns": {"record_ttl_seconds": 6}}, "coredns-custom"),
    "dns.cache_seconds": ("de", {"dns": {"cache_seconds": 31}}, "coredns-custom"),
    "dns.stale_seconds": ("de", {"dns": {"stale_seconds": 0}}, "coredns-custom"),
    "dns.forward_zones": ("de", {"dns": {"forward_zones": {"corp.example.com": ["192.168.9.53"]}}}, "coredns-custom"),
    "mirrors.k3s": ("de", {"mirrors": {"k3s": "https://mirror.example.net/k3s"}}, "de-agent-1"),
    "mirrors.charts": ("de", {"mirrors": {"charts": "https://mirror.example.net/charts"}}, "isthmus-cilium"),
    "mirrors.registries": ("de", {"mirrors": {"registries": {"docker.io": "https://m.example.net"}}}, "de-agent-1"),
    "hcloud:endpoint": ("de", {"hcloud:endpoint": "https://api.example.net/v1"}, "hcloud"),
    "hcloud:pollInterval": ("de", {"hcloud:pollInterval": "100ms"}, "hcloud"),
    "hcloud:pollFunction": ("de", {"hcloud:pollFunction": "constant"}, "hcloud"),
}
"""For each setting: the stack, a change of it that is right (under ``peer`` what the other stack changes with it), and
the name of a resource that is another one afterwards."""

ELSEWHERE: dict[str, str] = {
    "hetzner.routers": "has one value only; another one is refused (bad_settings.yaml: no router, two routers)",
    "netbird.mtu": "in the pod template override, which a transform adds and mocks can't run (test_netbird.py)",
    "netbird.agent_env": "in the pod template override, which a transform adds and mocks can't run (test_netbird.py)",
}
"""Settings whose effect is not in what is registered under mocks, and where it is shown."""


def all_settings() -> set[str]:
    """Every setting of the models that is no section by itself."""
    found: set[str] = set()

    def walk(path: str, model: type[Section]) -> None:
        for name, field in model.model_fields.items():
            inner, item = model_of(field.annotation), item_model_of(field.annotation)
            if inner is not None:
                walk(f"{path}{name}.", inner)
            elif item is not None:
                walk(f"{path}{name}.N.", item)
            else:
                found.add(f"{path}{name}")

    for section in SECTIONS:
        model = model_of(StackSettings.model_fields[section].annotation)
        if model is None:
            found.add(section)
        else:
            walk(f"{section}.", model)
    return found | {f"hcloud:{name}" for name in HcloudSettings.model_fields}


def test_every_setting_is_in_the_table() -> None:
    assert set(EFFECTS) | set(ELSEWHERE) == all_settings()
    assert not set(EFFECTS) & set(ELSEWHERE)


def configs(base: str, changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    name, config = BASES[base]
    other, other_config = ("mn", MN) if name == "de" else ("de", DE)
    own = {setting: value for setting, value in changes.items() if setting != "peer"}
    return {name: changed(config, own), other: changed(other_config, changes.get("peer", {}))}


def registered(directory: Path, base: str, changes: dict[str, Any]) -> Run:
    name = BASES[base][0]
    stacks = configs(base, changes)
    assert said(check_files({stack: text(config) for stack, config in stacks.items()})) == []
    write_stack_files(directory, **stacks)
    module = program()
    return run(
        lambda: module.main(directory=directory, callbacks=False),
        stack=name,
        config=engine_config_of(stacks[name], {**SECRET_VALUES, "isthmus:kubeconfig": GIVEN_KUBECONFIG}),
        preview=True,
        stacks={other: {"link": link} for other, link in LINKS.items() if other != name},
    )


def resources(found: Run) -> dict[tuple[str, str], str]:
    return {
        (item.type, item.name): json.dumps([item.inputs, item.protect], sort_keys=True, default=lambda _: "unknown")
        for item in found.registrations
    }


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[tuple[str, str], str]]:
    """What each base registers, which a second run registers as well."""
    first = {base: resources(registered(tmp_path_factory.mktemp(base), base, {})) for base in BASES}
    second = {base: resources(registered(tmp_path_factory.mktemp(base), base, {})) for base in BASES}
    assert first == second
    return first


@pytest.mark.parametrize("setting", EFFECTS)
def test_effect(setting: str, before: dict[str, dict[tuple[str, str], str]], tmp_path: Path) -> None:
    base, changes, name = EFFECTS[setting]
    after = resources(registered(tmp_path, base, changes))
    differ = {key[1] for key in before[base].keys() | after.keys() if before[base].get(key) != after.get(key)}
    assert name in differ, f"{setting} changes {sorted(differ) or 'nothing'}"
