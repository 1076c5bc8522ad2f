"""The user's own settings of k3s reach its config file, and only there."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from domain.names import K3S_CONFIG
from domain.node_files import (
    FORBIDDEN_K3S_ARGUMENTS,
    FORBIDDEN_K3S_SETTINGS,
    fixed_k3s_setting,
    k3s_argument,
    k3s_config,
    node_files,
)
from domain.plan import address_plan
from tests.domain.samples import DE, changed, problems_of, settings_of


def config_of(role: str, changes: dict[str, Any]) -> dict[str, Any]:
    settings = settings_of("de", DE, changes)
    plan = address_plan(settings)
    node = next(node for node in plan.nodes if node.role == role)
    (file,) = [file for file in node_files(plan, node, settings, "token", "password") if file.path == K3S_CONFIG]
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


def test_arguments_as_kubernetes_reads_them() -> None:
    for entry in (
        "cluster-dns=x",
        "--cluster-dns=x",
        "cluster_dns=x",
        "cluster-dns+=x",
        "cluster-dns-=x",
        "cluster-dns",
    ):
        assert k3s_argument(entry) == "cluster-dns"
    assert k3s_argument("v=2") == "v"
    assert k3s_argument("=") == ""


@pytest.mark.parametrize("section", ["server_config", "agent_config"])
def test_what_is_ours_is_refused_in_every_list(section: str) -> None:
    lists = {name: [f"{argument}=x" for argument in arguments] for name, arguments in FORBIDDEN_K3S_ARGUMENTS.items()}
    problems = problems_of(de=changed(DE, {f"k3s.{section}": lists}))
    assert [(problem.setting, problem.value) for problem in problems] == [
        (f"k3s.{section}.{name}.{index}", argument)
        for name, arguments in FORBIDDEN_K3S_ARGUMENTS.items()
        for index, argument in enumerate(arguments)
    ]
