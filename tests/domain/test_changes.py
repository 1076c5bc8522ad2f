"""What a running cluster can't follow is refused, with what to do instead; all else may change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from domain.changes import RAISED_WITH, changes_refused, raised_with
from domain.plan import address_plan
from domain.settings import StackSettings
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, SHA256, changed, settings_of


def outputs_of(settings: StackSettings, *, old: bool = False) -> dict[str, Any]:
    """What the stack's last update left; ``old`` as versions left it that had no output ``raised_with``."""
    plan = address_plan(settings)
    outputs: dict[str, Any] = {
        "link": {"pod_cidr": str(plan.pod_cidr), "service_cidr": str(plan.service_cidr), "cluster": plan.cluster},
        "node_ips": {node.name: str(node.address) for node in plan.nodes},
        "kubeconfig": "[secret]",
    }
    if not old:
        outputs[RAISED_WITH] = raised_with(settings)
    return outputs


BASES: dict[str, tuple[str, dict[str, Any]]] = {"de": ("de", DE), "mn": ("mn", MN), "given": ("mn", GIVEN)}


def refused(
    base: str, changes: dict[str, Any], *, before: dict[str, Any] | None = None, old: bool = False
) -> list[str]:
    name, config = BASES[base]
    outputs = outputs_of(settings_of(name, changed(config, before or {})), old=old)
    return [str(problem) for problem in changes_refused(outputs, settings_of(name, changed(config, changes)))]


ANEW = {
    name: f"or raise the cluster anew: `pulumi destroy -s {name}`, then `pulumi up -s {name}`." for name in ("de", "mn")
}


@pytest.mark.parametrize("old", [False, True], ids=["raised_with", "link only"])
def test_pod_and_service_cidr(old: bool) -> None:
    changes = {"network.pod_cidr": "10.60.0.0/16", "network.service_cidr": "10.61.0.0/16"}
    assert refused("mn", changes, old=old) == [
        (
            "mn: network.pod_cidr 10.60.0.0/16 is not 10.52.0.0/16, with which the cluster runs; every node holds a "
            f"part of it, and the peers route it; write 10.52.0.0/16 again, {ANEW['mn']}"
        ),
        (
            "mn: network.service_cidr 10.61.0.0/16 is not 10.53.0.0/16, with which the cluster runs; the addresses of "
            f"all services and the API's certificate come from it; write 10.53.0.0/16 again, {ANEW['mn']}"
        ),
    ]


@pytest.mark.parametrize(
    ("base", "changes", "setting"),
    [
        ("de", {"network.node_cidr": "10.0.2.0/24"}, "network.node_cidr"),
        ("de", {"hetzner.network_cidr": "10.0.0.0/20"}, "hetzner.network_cidr"),
        ("de", {"network.cluster_dns": "10.43.0.11"}, "network.cluster_dns"),
        ("de", {"hetzner.location": "nbg1"}, "hetzner.location"),
        ("de", {"hetzner.location": "new1", "hetzner.network_zone": "eu-new"}, "hetzner.location"),
        ("mn", {"on_premise.machines.1.address": "192.168.7.13"}, "on_premise.machines.1.address"),
        ("given", {"on_premise.machines.0.address": "192.168.7.13"}, "on_premise.machines.0.address"),
    ],
)
def test_addresses(base: str, changes: dict[str, Any], setting: str) -> None:
    said = refused(base, changes)
    assert said[0].split()[1] == setting
    assert len(said) == len(changes)
    assert all("again" in line for line in said)


def test_a_cluster_does_not_move() -> None:
    on_premise, hetzner = changed(MN, {"peers": ["us"]}), changed(DE, {"peers": ["us"]})
    found = changes_refused(outputs_of(settings_of("de", hetzner)), settings_of("de", on_premise))
    assert [str(problem) for problem in found] == [
        (
            "de: on_premise stands in the place of hetzner, where the cluster runs; a cluster does not move; write "
            f"hetzner again, {ANEW['de']}"
        )
    ]
    back = changes_refused(outputs_of(settings_of("mn", on_premise)), settings_of("mn", hetzner))
    assert [problem.setting for problem in back] == ["hetzner"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (1, 3, "is more than the 1 with which the cluster was raised"),
        (3, 1, "leaves no majority of the 3 servers that run"),
        (5, 1, "leaves no majority of the 5 servers that run"),
        (3, 5, None),
        (5, 3, None),
        (3, 3, None),
    ],
)
def test_hetzner_servers(before: int, after: int, said: str | None) -> None:
    count = "hetzner.control_plane.count"
    found = refused("de", {count: after}, before={count: before})
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ("de", {}),
        ("mn", {}),
        ("given", {}),
        ("de", {"hetzner.labels": {"team": "platform"}, "hetzner.workers.count": 3}),
        ("de", {"hetzner.api_allowed_cidrs": ["198.51.100.0/24"], "dns": {"record_ttl_seconds": 10}}),
        ("de", {"cilium": {"values": {"hubble": {"enabled": True}}}, "k3s.version": "v1.35.0+k3s1"}),
        ("de", {"network.dns_zone": "other.internal", "peers": []}),
        ("mn", {"network.node_cidr": "192.168.0.0/21"}),
        ("mn", {"on_premise.machines.1.host_key": HOST_KEYS[0], "k3s.sha256": SHA256}),
        ("mn", {"on_premise.machines.1.name": "mn-3", "on_premise.machines.1.address": "192.168.7.13"}),
    ],
)
def test_all_else_may_change(base: str, changes: dict[str, Any]) -> None:
    assert refused(base, changes) == []


NOTHING: list[Any] = [
    {},
    {"link": None},
    {"raised_with": {"pod_cidr": "10.1.0.0/16\nx"}},
    {"link": "[secret]", "raised_with": [], "node_ips": 3},
    {
        "link": {"pod_cidr": 10, "service_cidr": "<x>"},
        "raised_with": {"pod_cidr": None},
        "node_ips": {1: 2, "mn-1": None},
    },
]


@pytest.mark.parametrize("outputs", NOTHING)
def test_outputs_of_another_form_refuse_nothing(outputs: Any) -> None:
    assert changes_refused(copy.deepcopy(outputs), settings_of("mn", MN)) == []
