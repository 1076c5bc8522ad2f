"""The user's own settings of k3s reach its config file, and only there."""

from __future__ import annotations

from typing import Any

import yaml

from domain.names import K3S_CONFIG
from domain.node_files import FORBIDDEN_K3S_SETTINGS, fixed_k3s_setting, k3s_config, node_files
from domain.plan import address_plan
from tests.domain.samples import DE, settings_of


def config_of(role: str, changes: dict[str, Any]) -> dict[str, Any]:
    settings = settings_of("de", DE, changes)
    plan = address_plan(settings)
    node = next(node for node in plan.nodes if node.role == role)
    (file,) = [file for file in node_files(plan, node, settings, "token") if file.path == K3S_CONFIG]
    found: dict[str, Any] = yaml.safe_load(file.content)
    return found


def test_servers_and_agents_get_their_own() -> None:
    changes = {
        "k3s.server_config": {"kube-apiserver-arg": ["v=2"], "etcd-expose-metrics": True},
        "k3s.agent_config": {"kubelet-arg": ["max-pods=200"]},
    }
    ours = {role: config_of(role, {}) for role in ("server", "agent")}
    assert config_of("server", changes) == ours["server"] | {"kube-apiserver-arg": ["v=2"], "etcd-expose-metrics": True}
    assert config_of("agent", changes) == ours["agent"] | {"kubelet-arg": ["max-pods=200"]}


def test_disable_adds_to_ours() -> None:
    for given in ("metrics-server", ["metrics-server"]):
        config = config_of("server", {"k3s.server_config": {"disable": given}})
        assert config["disable"] == ["metrics-server", "servicelb", "traefik"]


def test_all_that_we_write_is_fixed() -> None:
    """Else a user's value would overwrite ours."""
    settings = settings_of("de", DE, {"hetzner.control_plane.count": 3})
    plan = address_plan(settings)
    ours = {name for node in plan.nodes for name in k3s_config(plan, node, "token")}
    assert {name for name in ours if not fixed_k3s_setting(name)} == {"disable"}
    assert {"cluster-cidr", "service-cidr", "cluster-dns"} <= set(FORBIDDEN_K3S_SETTINGS)
