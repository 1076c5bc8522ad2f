from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Any

import pytest
import yaml

from domain import netbird, overlay
from domain.router_rollout import alone_on_its_node, old_pod_first
from domain.settings.installed import NetbirdSettings
from tests.domain.samples import golden

SETTINGS = NetbirdSettings(agent_env={"NB_RELAY_TRANSPORT": "ws"})


def whole_router(routers: int) -> dict[str, Any]:
    router = netbird.network_router("de", SETTINGS, routers)
    override = alone_on_its_node(netbird.pod_template_override("de", SETTINGS, routers), "de")
    return {**router, "spec": netbird.with_override(router["spec"], override)}


def test_resources() -> None:
    documents = [whole_router(1), netbird.setup_key("de"), old_pod_first("de")]
    golden("netbird-resources.yaml", yaml.safe_dump_all(documents, sort_keys=False))


def test_several_routers_differ_in_their_number_and_their_names_alone() -> None:
    """Else one router would be another object, or would start anew for more than its name."""
    one, two = whole_router(1), whole_router(2)
    entries = {routers: whole_router(routers)["spec"]["workloadOverride"]["podTemplate"] for routers in (1, 2)}
    name = {"name": "NB_HOSTNAME", "value": "isthmus-de-router-$(ISTHMUS_NODE)"}
    node = {"name": "ISTHMUS_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    (before,), (after,) = (pod["spec"].pop("containers") for pod in entries.values())
    assert [entry for entry in after["env"] if entry not in before["env"]] == [node, name]
    assert [entry for entry in before["env"] if entry not in after["env"]] == [
        {"name": "NB_HOSTNAME", "value": "isthmus-de-router"}
    ]
    assert {**before, "env": 0} == {**after, "env": 0}
    assert entries[1] == entries[2]
    for router in (one, two):
        router["spec"]["workloadOverride"].pop("podTemplate")
    assert one["spec"]["workloadOverride"].pop("replicas") == 1
    assert two["spec"]["workloadOverride"].pop("replicas") == 2
    assert one == two


@pytest.mark.parametrize("routers", [1, 2])
def test_what_a_name_is_made_of_comes_before_it(routers: int) -> None:
    """Kubernetes puts in what stands before an entry, and leaves the rest as it is."""
    (container,) = netbird.pod_template_override("de", SETTINGS, routers)["spec"]["containers"]
    names = [entry["name"] for entry in container["env"]]
    used = {name for entry in container["env"] for name in re.findall(r"\$\(([^)]*)\)", entry.get("value") or "")}
    assert used == ({"ISTHMUS_NODE"} if routers > 1 else set())
    for name in used:
        assert names.index(name) < names.index("NB_HOSTNAME")


@pytest.mark.parametrize("routers", [1, 2])
def test_override_repeats_the_operators_entries_first_and_in_order(routers: int) -> None:
    spec = netbird.pod_template_override("de", SETTINGS, routers)["spec"]
    (container,) = spec["containers"]
    names = [entry["name"] for entry in container["env"]]
    assert tuple(names[: len(netbird.OPERATOR_ENVIRONMENT)]) == netbird.OPERATOR_ENVIRONMENT
    assert len(set(names)) == len(names)
    assert [volume["name"] for volume in spec["volumes"]] == [*netbird.OPERATOR_VOLUMES, "state"]


def test_adding_the_override_changes_nothing_given() -> None:
    router = netbird.network_router("de", SETTINGS, 1)
    spec = netbird.with_override(router["spec"], {"spec": {}})
    assert spec["workloadOverride"] == {"replicas": 1, "podTemplate": {"spec": {}}}
    assert router["spec"]["workloadOverride"] == {"replicas": 1}
    override = netbird.pod_template_override("de", SETTINGS, 1)
    assert "affinity" in alone_on_its_node(override, "de")["spec"]
    assert override == netbird.pod_template_override("de", SETTINGS, 1)


def test_settings_show() -> None:
    settings = NetbirdSettings(mtu=1420, wireguard_port=51900)
    entries = netbird.pod_template_override("de", settings, 1)["spec"]["containers"][0]["env"]
    values = {entry["name"]: entry.get("value") for entry in entries}
    assert values["NB_MTU"] == "1420"
    assert values["NB_WIREGUARD_PORT"] == "51900"
    assert values["NB_HOSTNAME"] == "isthmus-de-router"


def test_what_we_set_nobody_else_may() -> None:
    ours = {*netbird.OPERATOR_ENVIRONMENT, *netbird.owned_environment("de", SETTINGS), netbird.NODE_VARIABLE}
    assert ours <= set(netbird.FORBIDDEN_ENVIRONMENT)


def test_names_fit_where_they_go() -> None:
    longest = "a" * 30
    for name in (
        overlay.router_name(longest),
        netbird.router_deployment(longest),
        overlay.router_hostname(longest),
        netbird.setup_key_secret(longest),
    ):
        assert len(name) <= 63


def test_rest_objects() -> None:
    assert overlay.pods_resource("mn", IPv4Network("10.52.0.0/16")) == overlay.NetworkResource(
        name="isthmus-mn-pods",
        network="isthmus-mn",
        address=IPv4Network("10.52.0.0/16"),
        group="isthmus-mn-pods",
        description="Pods of mn",
    )
    assert overlay.services_resource("mn", IPv4Network("10.53.0.0/16")) == overlay.NetworkResource(
        name="isthmus-mn-services",
        network="isthmus-mn",
        address=IPv4Network("10.53.0.0/16"),
        group="isthmus-mn-services",
        description="Services of mn",
    )
    assert [
        (
            policy.name,
            policy.source_group,
            policy.destination_group,
            policy.protocol,
            policy.ports,
            policy.bidirectional,
        )
        for policy in overlay.policies("de", "mn", cluster_ips=True)
    ] == [
        ("isthmus-de-to-mn-pods", "isthmus-de-routers", "isthmus-mn-pods", "all", (), False),
        ("isthmus-de-to-mn-dns-udp", "isthmus-de-routers", "isthmus-mn-routers", "udp", ("1053",), False),
        ("isthmus-de-to-mn-dns-tcp", "isthmus-de-routers", "isthmus-mn-routers", "tcp", ("1053",), False),
        ("isthmus-de-to-mn-services", "isthmus-de-routers", "isthmus-mn-services", "all", (), False),
    ]
    assert not any("services" in one.name for one in overlay.policies("de", "mn", cluster_ips=False))
