"""One stack from its machines to its outputs, under mocks: what is registered, in which order, and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.engine import MOCKS
from tests.components.recording import (
    CASES,
    LINKS,
    STACK_URN,
    Run,
    engine_config_of,
    program,
    run,
    run_stack,
    write_stack_files,
)
from tests.domain.samples import MN, changed, golden

BOTH = pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_every_kind_of_cluster(tmp_path: Path, stack: str, config: dict[str, Any], preview: bool) -> None:
    found = run_stack(tmp_path, stack, config=config, preview=preview)
    kind = {"de": "hetzner"}.get(stack) or ("on-premise" if config is MN else "existing")
    golden(f"../../components/golden/{kind}.txt", found.tree())


@BOTH
def test_pending_peer_leaves_nothing_that_needs_it(tmp_path: Path, preview: bool) -> None:
    found = run_stack(tmp_path, "de", linked=False, preview=preview)
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
    module = program()
    found = run(
        lambda: module.main(directory=tmp_path, engine=MOCKS),
        stack="mn",
        config=engine_config_of(config),
        preview=False,
        stacks={"de": {"link": LINKS["de"], "offers": {"cluster_ips": end == "here"}}},
    )
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


def test_outputs(tmp_path: Path) -> None:
    outputs = run_stack(tmp_path, "mn").outputs
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


def test_outputs_of_a_first_preview_are_unknown(tmp_path: Path) -> None:
    outputs = run_stack(tmp_path, "de", preview=True).outputs
    assert not outputs["link"].known
    assert not outputs["kubeconfig"].known
    assert outputs["kubeconfig"].secret
    assert outputs["node_ips"].known


@BOTH
@pytest.mark.parametrize(("stack", "config"), CASES)
def test_nothing_uses_a_default_provider(tmp_path: Path, stack: str, config: dict[str, Any], preview: bool) -> None:
    found = run_stack(tmp_path, stack, config=config, preview=preview)
    names = {"hcloud": "hcloud", "command": "command", "kubernetes": stack}
    checked = 0
    for item in found.registrations:
        package = item.type.partition(":")[0]
        if package in names:
            assert f"pulumi:providers:{package}::{names[package]}::" in item.provider, item
            checked += 1
    assert checked > 10


@pytest.mark.parametrize(("stack", "config"), CASES)
def test_children_belong_to_their_components(tmp_path: Path, stack: str, config: dict[str, Any]) -> None:
    found = run_stack(tmp_path, stack, config=config)
    at_the_top = {item.type for item in found.registrations if item.parent == STACK_URN.format(stack=stack)}
    assert at_the_top
    allowed = ("isthmus:", "pulumi:providers:", "pulumi:pulumi:StackReference")
    assert {kind for kind in at_the_top if not kind.startswith(allowed)} == set()


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
        for one in direct.get(todo.pop(), set()) - seen:
            seen.add(one)
            todo.add(one)
    return seen


def test_several_routers(two: Run) -> None:
    assert two.one(":NetworkRouter").inputs["spec"]["workloadOverride"]["replicas"] == 2
    assert [router["node"] for router in two.outputs["link"].value["routers"]] == ["mn-1", "mn-2"]
    assert two.outputs["router_peers"].value == {"mn-1": "100.92.0.9", "mn-2": "100.92.0.8"}
