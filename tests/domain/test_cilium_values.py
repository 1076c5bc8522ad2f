from __future__ import annotations

from typing import Any

import pytest

from domain.cilium_values import (
    _AGENT_SETTINGS,
    _FORBIDDEN,
    cilium_values,
    clashes,
    defaults,
    fixed_values,
    required,
)
from tests.domain.samples import DE, plan_of, settings_of


def values_of(user: dict[str, Any]) -> dict[str, Any]:
    changes = {"cilium": {"values": user}}
    return cilium_values(plan_of("de", DE, changes), settings_of("de", DE, changes))


def test_ours() -> None:
    assert values_of({}) == {
        "kubeProxyReplacement": True,
        "k8sServiceHost": "127.0.0.1",
        "k8sServicePort": 6444,
        "ipam": {"mode": "kubernetes"},
        "k8s": {"requireIPv4PodCIDR": True},
        "operator": {"replicas": 1},
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
        "bpf": {"masquerade": True, "lbExternalClusterIP": True},
        "enableNoServiceEndpointsRoutable": False,
        "egressGateway": {"enabled": True, "reconciliationTriggerInterval": "100ms"},
        "devices": "wt+",
        "forceDeviceDetection": True,
        "MTU": 1280,
        "loadBalancer": {"acceleration": "disabled", "mode": "snat"},
        "hubble": {"enabled": False},
        "envoy": {"enabled": False},
        "l7Proxy": False,
        "rollOutCiliumPods": True,
    }


def test_users_values_are_merged_in() -> None:
    merged = values_of(
        {
            "securityContext": {"privileged": True},
            "bpf": {"hostLegacyRouting": True},
            "hubble": {"enabled": True, "relay": {"enabled": True}},
            "operator": {"replicas": 2, "resources": {"limits": {"memory": "1Gi"}}},
        }
    )
    assert merged["securityContext"] == {"privileged": True}
    assert merged["bpf"] == {"hostLegacyRouting": True, "masquerade": True, "lbExternalClusterIP": True}
    assert merged["hubble"] == {"enabled": True, "relay": {"enabled": True}}
    assert merged["operator"] == {"replicas": 2, "resources": {"limits": {"memory": "1Gi"}}}


def test_a_right_text_becomes_the_value_itself() -> None:
    """The text "false" is true to a template of Helm."""
    user = {"socketLB": {"enabled": "true", "tracing": "true"}, "kubeProxyReplacement": "true", "tunnelPort": "8472"}
    values = values_of(user)
    assert values["socketLB"] == {"enabled": True, "tracing": "true"}
    assert values["kubeProxyReplacement"] is True
    assert values["tunnelPort"] == 8472
    assert user["socketLB"] == {"enabled": "true", "tracing": "true"}


def test_merging_changes_neither_side() -> None:
    user = {"bpf": {"hostLegacyRouting": True}}
    values_of(user)
    assert user == {"bpf": {"hostLegacyRouting": True}}
    assert defaults()["operator"] == {"replicas": 1}


def test_another_port_of_the_tunnel() -> None:
    assert "tunnelPort" not in values_of({})
    for changes in ({"tunnel_port": 8223}, {"values": {"tunnelPort": 8223}}, {"values": {"tunnelPort": "8223"}}):
        settings = settings_of("de", DE, {"cilium": changes})
        assert cilium_values(plan_of("de", DE, {"cilium": changes}), settings)["tunnelPort"] == 8223


def test_mtu_is_the_plans() -> None:
    changes = {"cilium": {"mtu": 1320}}
    assert cilium_values(plan_of("de", DE, changes), settings_of("de", DE, changes))["MTU"] == 1320


@pytest.mark.parametrize("changes", [{"peers": []}, {"link.cluster_ips": False}])
def test_services_are_opened_for_peers_that_are_to_reach_them(changes: dict[str, Any]) -> None:
    values = cilium_values(plan_of("de", DE, changes), settings_of("de", DE, changes))
    assert values["bpf"] == {"masquerade": True}
    assert "enableNoServiceEndpointsRoutable" not in values


def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in values.items():
        found += leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return found


ALL = [*leaves(required(1280)), *_FORBIDDEN]


def at(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def needed(path: str) -> Any:
    value: Any = required(1280)
    if path in _FORBIDDEN:
        return _FORBIDDEN[path][0]
    for name in path.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize("path", ALL)
def test_each_value_is_defended_with_a_reason(path: str) -> None:
    for wrong in ("something else", not needed(path)):
        (clash,) = clashes(at(path, wrong), 1280, installs_k3s=True)
        assert (clash.path, clash.value, clash.needed) == (path, wrong, needed(path))
        assert clash.reason
    assert clashes(at(path, needed(path)), 1280, installs_k3s=True) == []


def test_the_reference_has_them_all() -> None:
    assert sorted(clash.path for clash in fixed_values()) == sorted(ALL)


NO_AGENT_SETTING = {"agent", "clustermesh.useAPIServer", "cni.install", "eni.enabled", "operator.enabled"}
"""What the chart makes or leaves out, and which the agent is not told by a setting of its own."""


def test_what_each_value_is_to_the_agent_is_known() -> None:
    assert set(_AGENT_SETTINGS) | NO_AGENT_SETTING == set(ALL)
    assert not set(_AGENT_SETTINGS) & NO_AGENT_SETTING


@pytest.mark.parametrize("path", _AGENT_SETTINGS)
def test_each_value_is_defended_past_the_chart(path: str) -> None:
    for name in _AGENT_SETTINGS[path]:
        variable = "CILIUM_" + name.upper().replace("-", "_")
        for user, place in (
            ({"extraConfig": {name: "x"}}, f"extraConfig.{name}"),
            ({"extraArgs": ["--debug", f"--{name}=x"]}, "extraArgs.1"),
            ({"extraArgs": [f"--{name}", "x"]}, "extraArgs.0"),
            ({"extraEnv": [{"name": variable, "value": "x"}]}, "extraEnv.0"),
            ({"operator": {"extraArgs": [f"--{name}=x"]}}, "operator.extraArgs.0"),
            ({"operator": {"extraEnv": [{"name": variable}]}}, "operator.extraEnv.0"),
        ):
            (clash,) = clashes(user, 1280, installs_k3s=True)
            assert (clash.path, clash.overrides, clash.needed) == (place, path, needed(path))


@pytest.mark.parametrize("value", ["x", [1, None, {}], {"a": None, 1: 2}, None, [[]]])
@pytest.mark.parametrize("place", ["extraConfig", "extraArgs", "extraEnv", "operator.extraArgs", "operator.extraEnv"])
def test_what_is_of_another_form_is_the_charts_to_refuse(place: str, value: Any) -> None:
    assert clashes(at(place, value), 1280, installs_k3s=True) == []


def test_api_address_of_a_given_cluster_is_its_users() -> None:
    user = {"k8sServiceHost": "10.9.0.1", "k8sServicePort": 443}
    assert clashes(user, 1280, installs_k3s=False) == []
    assert [clash.path for clash in clashes(user, 1280, installs_k3s=True)] == ["k8sServiceHost", "k8sServicePort"]
