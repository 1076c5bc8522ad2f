from __future__ import annotations

from typing import Any

import pytest

from domain.cilium_values import cilium_values, clashes, defaults, required
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
        "bpf": {"masquerade": True},
        "egressGateway": {"enabled": True},
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
    assert merged["bpf"] == {"hostLegacyRouting": True, "masquerade": True}
    assert merged["hubble"] == {"enabled": True, "relay": {"enabled": True}}
    assert merged["operator"] == {"replicas": 2, "resources": {"limits": {"memory": "1Gi"}}}


def test_merging_changes_neither_side() -> None:
    user = {"bpf": {"hostLegacyRouting": True}}
    values_of(user)
    assert user == {"bpf": {"hostLegacyRouting": True}}
    assert defaults()["operator"] == {"replicas": 1}


def test_mtu_is_the_plans() -> None:
    changes = {"cilium": {"mtu": 1320}}
    assert cilium_values(plan_of("de", DE, changes), settings_of("de", DE, changes))["MTU"] == 1320


def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in values.items():
        found += leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return found


@pytest.mark.parametrize("path", leaves(required(1280)))
def test_each_value_of_ours_is_defended_with_a_reason(path: str) -> None:
    user: Any = "something else"
    for name in reversed(path.split(".")):
        user = {name: user}
    (clash,) = clashes(user, 1280, installs_k3s=True)
    assert clash.path == path
    assert clash.reason


def test_api_address_of_a_given_cluster_is_its_users() -> None:
    user = {"k8sServiceHost": "10.9.0.1", "k8sServicePort": 443}
    assert clashes(user, 1280, installs_k3s=False) == []
    assert [clash.path for clash in clashes(user, 1280, installs_k3s=True)] == ["k8sServiceHost", "k8sServicePort"]
