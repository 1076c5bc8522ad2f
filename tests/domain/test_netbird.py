from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

import yaml

from domain import netbird, netbird_marks, overlay
from domain.router_rollout import alone_on_its_node, old_pod_first
from tests.domain.samples import golden

IMAGE = "netbirdio/netbird:0.77.1"
AGENT = netbird.Agent("51820", "1280", {"NB_RELAY_TRANSPORT": "ws"})


NODES = ["de-agent-1", "de-agent-2"]


def whole_router(nodes: Sequence[str]) -> dict[str, Any]:
    router = netbird.network_router("de", IMAGE, len(nodes))
    override = alone_on_its_node(netbird.pod_template_override("de", AGENT, nodes), "de")
    return {**router, "spec": netbird.with_override(router["spec"], override)}


def test_resources() -> None:
    documents = [whole_router(NODES), netbird.setup_key("de"), old_pod_first("de")]
    golden("netbird-resources.yaml", yaml.safe_dump_all(documents, sort_keys=False))


def test_one_router_and_several_differ_in_their_number_alone() -> None:
    """Else one that comes or goes would let the others start anew, and the link with them."""
    found = [whole_router(NODES[:1]), whole_router(NODES), whole_router(NODES[1:])]
    assert [router["spec"]["workloadOverride"].pop("replicas") for router in found] == [1, 2, 1]
    assert found[0] == found[1] == found[2]


def test_the_one_router_whose_name_would_be_too_long_has_that_of_its_cluster() -> None:
    for nodes, name in ((["n" * 60], "isthmus-de-router"), (["n"], "isthmus-de-router-$(ISTHMUS_NODE)")):
        (container,) = netbird.pod_template_override("de", AGENT, nodes)["spec"]["containers"]
        assert {"name": "NB_HOSTNAME", "value": name} in container["env"]


def test_what_a_name_is_made_of_comes_before_it() -> None:
    """Kubernetes puts in what stands before an entry, and leaves the rest as it is."""
    (container,) = netbird.pod_template_override("de", AGENT, NODES)["spec"]["containers"]
    names = [entry["name"] for entry in container["env"]]
    used = {name for entry in container["env"] for name in re.findall(r"\$\(([^)]*)\)", entry.get("value") or "")}
    assert used == {"ISTHMUS_NODE"}
    assert names.index("ISTHMUS_NODE") < names.index("NB_HOSTNAME")


def test_override_repeats_the_operators_entries_first_and_in_order() -> None:
    spec = netbird.pod_template_override("de", AGENT, NODES)["spec"]
    (container,) = spec["containers"]
    names = [entry["name"] for entry in container["env"]]
    assert tuple(names[: len(netbird.OPERATOR_ENVIRONMENT)]) == netbird.OPERATOR_ENVIRONMENT
    assert len(set(names)) == len(names)
    assert [volume["name"] for volume in spec["volumes"]] == [*netbird.OPERATOR_VOLUMES, "state", "wireguard"]
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert paths == [*netbird.OPERATOR_MOUNTS, "/var/run/wireguard"]
    volumes = [mount.get("name") for mount in container["volumeMounts"]]
    assert volumes == ["netbird-run", "state", "ssh-etc", "resolv-conf", "resolv-conf", "wireguard"]


def test_adding_the_override_changes_nothing_given() -> None:
    router = netbird.network_router("de", IMAGE, 1)
    spec = netbird.with_override(router["spec"], {"spec": {}})
    assert spec["workloadOverride"] == {"replicas": 1, "podTemplate": {"spec": {}}}
    assert router["spec"]["workloadOverride"] == {"replicas": 1}
    override = netbird.pod_template_override("de", AGENT, NODES)
    assert "affinity" in alone_on_its_node(override, "de")["spec"]
    assert override == netbird.pod_template_override("de", AGENT, NODES)


def test_settings_show() -> None:
    agent = netbird.Agent("51900", "1420", {})
    entries = netbird.pod_template_override("de", agent, NODES)["spec"]["containers"][0]["env"]
    values = {entry["name"]: entry.get("value") for entry in entries}
    assert values["NB_MTU"] == "1420"
    assert values["NB_WIREGUARD_PORT"] == "51900"
    assert values["NB_HOSTNAME"] == "isthmus-de-router-$(ISTHMUS_NODE)"


def test_what_we_set_nobody_else_may() -> None:
    ours = {*netbird.OPERATOR_ENVIRONMENT, *netbird.owned_environment("de", AGENT, NODES), netbird.NODE_VARIABLE}
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
    assert not any("services" in policy.name for policy in overlay.policies("de", "mn", cluster_ips=False))
    with_keepers = overlay.policies("de", "mn", cluster_ips=True, keeper_port=51900)
    (keepers,) = set(with_keepers) - set(overlay.policies("de", "mn", cluster_ips=True))
    assert keepers == overlay.Policy(
        name="isthmus-de-to-mn-keeper",
        description="The keepers of de ask those of mn",
        source_group="isthmus-de-routers",
        destination_group="isthmus-mn-routers",
        protocol="udp",
        ports=("51900",),
    )


def test_the_key_into_the_routers_group_is_that_of_the_cluster() -> None:
    for cluster in ("de", "mn", "s"):
        assert netbird_marks.setup_key_into(overlay.router_group(cluster)) == netbird.setup_key_name(cluster)
