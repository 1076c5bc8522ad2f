"""One stack from its machines to its outputs, under mocks: what is registered, in which order, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import JoinedCluster, JoinedClusterArgs, PeerLink, Secrets
from components.engine import MOCKS
from domain.link import parse_link
from tests.components.recording import (
    CASES,
    HCLOUD_TOKEN,
    KUBECONFIG,
    LINKS,
    NETBIRD_TOKEN,
    STACK_URN,
    Run,
    engine_config_of,
    run,
    run_program,
    shared_run,
    write_stack_files,
)
from tests.domain.samples import CLUSTER_SECRET, DE, MN, SSH_PRIVATE_KEY, changed, golden, settings_of

BOTH = pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_every_kind_of_cluster(stack: str, config: dict[str, Any], preview: bool) -> None:
    found = shared_run(stack, config, preview=preview)
    kind = {"de": "hetzner"}.get(stack) or ("on-premise" if config is MN else "existing")
    golden(f"../../components/golden/{kind}.txt", found.tree())


@BOTH
def test_pending_peer_leaves_nothing_that_needs_it(preview: bool) -> None:
    found = shared_run("de", linked=False, preview=preview)
    assert found.of("EgressGateway") == []
    assert found.of("CiliumEgressGatewayPolicy") == []
    assert found.of("DnsRelay") == []
    assert found.of("NetbirdPolicy") == []
    assert list(found.one(":ConfigMapPatch", "dns-zones").inputs["data"]) == ["astring-de.internal.server"]
    assert not [item for item in found.registrations if "10.52." in item.raw or "astring-mn" in item.raw]
    status = found.outputs["links"].value["mn"]
    assert status == {
        "status": "pending",
        "message": "link pending: stack mn has no link yet; run `pulumi up -s mn`, then this stack again",
    }


@pytest.mark.parametrize("end", ["here", "there"])
def test_no_services_where_one_end_has_none(tmp_path: Path, end: str) -> None:
    """Whichever end it is, nothing of this one leads to the peer's services, but for what refuses packets to them."""
    config = changed(MN, {"link.cluster_ips": end == "there"})
    write_stack_files(tmp_path, mn=config)
    stacks = {"de": {"link": LINKS["de"], "offers": {"cluster_ips": end == "here"}}}
    found = run_program(tmp_path, "mn", engine_config_of(config), preview=False, stacks=stacks)
    assert [item.name for item in found.registrations if "10.43.0.0/16" in item.raw] == ["isthmus-guard"]
    assert not [item for item in found.registrations if "isthmus-de-services" in item.raw]
    own = [item.name for item in found.registrations if "isthmus-mn-services" in item.raw]
    assert own == ([] if end == "here" else ["isthmus-mn-services", "isthmus-mn-services-resource"])
    values = found.one("Release", "isthmus-cilium").inputs["values"]
    assert values["bpf"] == {"masquerade": True, **({"lbExternalClusterIP": True} if end == "there" else {})}
    assert found.outputs["offers"].value == {"cluster_ips": end == "there"}
    where = {"here": "here", "there": "at de"}[end]
    assert (
        found.outputs["links"]
        .value["de"]["message"]
        .endswith(f"; without ClusterIPs: link.cluster_ips is false {where}")
    )


def test_outputs() -> None:
    outputs = shared_run("mn").outputs
    assert outputs["kubeconfig"].secret
    assert "server: https://192.168.7.11:6443" in outputs["kubeconfig"].value
    assert outputs["node_ips"].value == {"mn-1": "192.168.7.11", "mn-2": "192.168.7.12"}
    assert outputs["router_peers"].value == {"mn-2": "100.92.0.8"}
    assert outputs["links"].value == {
        "de": {
            "status": "linked",
            "message": "linked: pods 10.42.0.0/16, services 10.43.0.0/16 and zone astring-de.internal by 100.92.0.7",
        }
    }


def test_outputs_of_a_first_preview_are_unknown() -> None:
    outputs = shared_run("de", preview=True).outputs
    assert not outputs["link"].known
    assert not outputs["kubeconfig"].known
    assert outputs["kubeconfig"].secret
    assert outputs["node_ips"].known


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_nothing_uses_a_default_provider(stack: str, config: dict[str, Any], preview: bool) -> None:
    found = shared_run(stack, config, preview=preview)
    names = {"hcloud": "hcloud", "command": "command", "kubernetes": stack}
    checked = 0
    for item in found.registrations:
        package = item.type.partition(":")[0]
        if package in names:
            assert f"pulumi:providers:{package}::{names[package]}::" in item.provider, item
            checked += 1
    assert checked > 10


@pytest.mark.parametrize(("stack", "config"), CASES)
def test_children_belong_to_their_components(stack: str, config: dict[str, Any]) -> None:
    found = shared_run(stack, config)
    at_the_top = {item.type for item in found.registrations if item.parent == STACK_URN.format(stack=stack)}
    assert at_the_top == {"isthmus:joined_cluster:JoinedCluster"}
    (whole,) = found.of(":JoinedCluster")
    below = {item.type for item in found.registrations if item.parent == whole.urn}
    assert len(below) > 5
    allowed = ("isthmus:", "pulumi:providers:", "pulumi-python:dynamic/isthmus:StackInstance")
    assert {kind for kind in below if not kind.startswith(allowed)} == set()


class TestOrder:
    """What has to exist before what; on destroy the same the other way round."""

    @pytest.mark.parametrize(
        ("later", "earlier"),
        [
            ("machines-mn-2", "machines-mn-1"),
            ("machines-kubeconfig", "machines-mn-1"),
            ("machines-kubeconfig", "machines-mn-2-uninstall"),
            ("isthmus-cilium", "machines-kubeconfig"),
            ("cilium-deny-metadata", "isthmus-cilium"),
            ("isthmus-netbird-operator", "isthmus-cilium"),
            ("isthmus-netbird-operator", "netbird-operator-api-key"),
            ("networkrouter-isthmus-mn", "isthmus-netbird-operator"),
            ("networkrouter-isthmus-mn", "mn.routers.isthmus.internal"),
            ("networkrouter-isthmus-mn", "isthmus-mn-routers"),
            ("setupkey-isthmus-mn-router", "isthmus-mn-routers"),
            ("setupkey-isthmus-mn-router", "isthmus-netbird-operator"),
            ("isthmus-mn-peers", "setupkey-isthmus-mn-router"),
            ("isthmus-mn-pods-resource", "networkrouter-isthmus-mn"),
            ("isthmus-mn-to-de-pods", "isthmus-mn-peers"),
            ("isthmus-mn-to-de-pods", "isthmus-mn-pods-resource"),
            ("isthmus-guard", "cilium-agents"),
            ("isthmus-to-de", "isthmus-mn-to-de-dns-tcp"),
            ("isthmus-to-de", "isthmus-guard"),
            ("isthmus-dns-relay", "isthmus-guard"),
            ("isthmus-dns-relay", "isthmus-mn-peers"),
            ("dns-coredns", "dns-zones"),
        ],
    )
    def test_after(self, mn: Run, later: str, earlier: str) -> None:
        assert earlier in _all_before(mn, later)


def _all_before(found: Run, name: str) -> set[str]:
    """Everything that a resource waits for, directly or not."""
    direct: dict[str, set[str]] = {}
    for item in found.registrations:
        direct.setdefault(item.name, set()).update(item.depends_on - {item.name})
        if item.provider:
            direct[item.name].add(item.provider.rpartition("::")[0].rpartition("::")[2])
    seen: set[str] = set()
    todo = {name}
    while todo:
        for before in direct.get(todo.pop(), set()) - seen:
            seen.add(before)
            todo.add(before)
    return seen


def test_several_routers(two: Run) -> None:
    assert two.one(":NetworkRouter").inputs["spec"]["workloadOverride"]["replicas"] == 2
    assert [router["node"] for router in two.outputs["link"].value["routers"]] == ["mn-1", "mn-2"]
    assert two.outputs["router_peers"].value == {"mn-1": "100.92.0.9", "mn-2": "100.92.0.8"}


# --- several, in a program of one's own, which has no configuration and is no stack of ours ---------------------------

CLUSTERS = {"de": ("office", DE, "mn"), "mn": ("plant", MN, "de")}
"""Cluster -> name of its component, settings, peer."""


def whole(cluster: str) -> JoinedCluster:
    name, config, peer = CLUSTERS[cluster]
    secrets = Secrets.of(
        cluster,
        netbird_api_token=pulumi.Output.from_input(NETBIRD_TOKEN),
        cluster_secret=pulumi.Output.from_input(CLUSTER_SECRET),
        of_place={
            "isthmus:sshPrivateKey": pulumi.Output.from_input(SSH_PRIVATE_KEY),
            "hcloud:token": pulumi.Output.from_input(HCLOUD_TOKEN),
        },
    )
    peers = [PeerLink(peer, parse_link(LINKS[peer], peer), "linked", keeper_port=51823)]
    return JoinedCluster(name, JoinedClusterArgs(settings_of(cluster, config), secrets, peers, engine=MOCKS))


@pytest.fixture(scope="module")
def both() -> Run:
    """Two clusters that are linked with each other, of one program."""

    async def body() -> Mapping[str, Any]:
        return {cluster: whole(cluster).outputs for cluster in CLUSTERS}

    return run(body, stack="sites", config={}, preview=False)  # type: ignore[arg-type]


def test_everything_is_below_one_of_them_and_carries_its_name(both: Run) -> None:
    tops = {item.urn: item for item in both.of(":JoinedCluster")}
    assert {item.name: item.inputs for item in tops.values()} == {
        "office": {"cluster": "de"},
        "plant": {"cluster": "mn"},
    }
    children = [item for item in both.registrations if item.parent in tops]
    assert len(children) > 20
    assert [item.name for item in children if not item.name.startswith(f"{tops[item.parent].name}-")] == []
    # Registered at the same time, so in any order.
    at_the_top = [item.name for item in both.registrations if "::pulumi:pulumi:Stack::" in item.parent]
    assert sorted(at_the_top) == ["office", "plant"]
    assert len({item.urn for item in both.registrations}) == len(both.registrations)


def test_each_says_what_peers_read(both: Run) -> None:
    for cluster in CLUSTERS:
        found = both.outputs[cluster].value
        assert found["link"] == LINKS[cluster] | {"node_ips": found["link"]["node_ips"]}
        assert "server: https://" in found["kubeconfig"]
        assert found["kubeconfig"] != KUBECONFIG
    assert both.outputs["de"].secret


def test_what_is_in_a_cluster_is_made_by_its_own_provider(both: Run) -> None:
    providers = {item.urn: item.name for item in both.of("pulumi:providers:kubernetes")}
    assert sorted(providers.values()) == ["office-de", "plant-mn"]
    used = {
        (item.urn.rpartition("::")[2], providers[item.provider.rpartition("::")[0]])
        for item in both.registrations
        if item.type.startswith("kubernetes:")
    }
    assert {(name, provider) for name, provider in used if name.startswith(("office", "plant"))} >= {
        ("office-cilium-agents", "office-de"),
        ("plant-cilium-agents", "plant-mn"),
        ("office-dns-zones", "office-de"),
        ("plant-dns-zones", "plant-mn"),
    }
    assert not [
        pair for pair in used if pair[0].partition("-")[0] in ("office", "plant") and pair[0][:5] != pair[1][:5]
    ]
