"""Kubernetes objects as data: what the engine takes back, and what it does not wait for."""

from __future__ import annotations

import importlib
from typing import Any

import pulumi
import pytest

from components.kubernetes_object import FORCED, SKIP_AWAIT, TAKEN_BACK, KubernetesObject, type_token
from tests.components.recording import Registration, Run, run


def test_what_was_changed_by_hand_is_taken_back_unless_it_may_be_somebodys_own(mn: Run) -> None:
    annotated = {
        f"{item.type.rpartition(':')[2]} {item.inputs['metadata']['name']}": "pulumi.com/patchForce"
        in item.inputs["metadata"].get("annotations", {})
        for item in mn.registrations
        if item.type.startswith("kubernetes:") and not item.type.endswith(":Release")
    }
    assert {name for name, forced in annotated.items() if not forced} == {
        "Namespace netbird",
        "Secret netbird-mgmt-api-key",
    }
    assert annotated["CiliumEgressGatewayPolicy isthmus-to-de"] is annotated["Secret isthmus-keeper-key"] is True


def test_nothing_that_a_wait_looks_at_is_waited_for_by_the_engine(mn: Run) -> None:
    waited = [item for item in mn.registrations if item.type.endswith((":DaemonSet", ":DaemonSetPatch", ":Service"))]
    assert len(waited) == 5
    for item in waited:
        assert item.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


@pytest.mark.parametrize(
    ("version", "kind", "patch", "token"),
    [
        ("v1", "ConfigMap", False, "kubernetes:core/v1:ConfigMap"),
        ("v1", "Node", True, "kubernetes:core/v1:NodePatch"),
        ("apps/v1", "Deployment", False, "kubernetes:apps/v1:Deployment"),
        ("netbird.io/v1alpha1", "SetupKey", False, "kubernetes:netbird.io/v1alpha1:SetupKey"),
    ],
)
def test_the_type_is_that_of_the_sdks_own_class(version: str, kind: str, patch: bool, token: str) -> None:
    """Else every object that an earlier program made with it would be another one."""
    assert type_token({"apiVersion": version, "kind": kind}, patch=patch) == token
    package, _, name = token.removeprefix("kubernetes:").rpartition(":")
    if "." not in package:
        module = importlib.import_module(f"pulumi_kubernetes.{package.replace('/', '.')}")
        assert getattr(module, name).pulumi_type == token


def registered(manifest: dict[str, Any], **options: bool) -> Registration:
    async def body() -> None:
        KubernetesObject("it", manifest, opts=pulumi.ResourceOptions(), **options)

    (found,) = run(body, stack="mn", config={}, preview=False).registrations
    return found


def manifest(kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **metadata}}


def test_the_data_of_a_secret_is_one_in_the_outputs_too() -> None:
    assert set(registered(manifest("Secret", "isthmus-x")).additional_secret_outputs) == {"data", "stringData"}
    assert registered(manifest("ConfigMap", "isthmus-x")).additional_secret_outputs == ()


@pytest.mark.parametrize(
    ("kind", "name", "options", "added"),
    [
        ("ConfigMap", "any", {}, TAKEN_BACK),
        ("Secret", "isthmus-key", {}, TAKEN_BACK),
        ("Secret", "netbird-mgmt-api-key", {}, {}),
        ("Namespace", "netbird", {}, {}),
        ("Namespace", "netbird", {"awaited": False}, SKIP_AWAIT),
        ("ConfigMap", "any", {"patch": True}, FORCED),
        ("ConfigMap", "any", {"patch": True, "awaited": False}, {**FORCED, **SKIP_AWAIT}),
    ],
)
def test_what_the_engine_is_told_stands_beside_what_the_manifest_says(
    kind: str, name: str, options: dict[str, bool], added: dict[str, str]
) -> None:
    given = manifest(kind, name, annotations={"mine": "1"})
    assert registered(given, **options).inputs["metadata"]["annotations"] == {"mine": "1", **added}
    assert given == manifest(kind, name, annotations={"mine": "1"}), "the manifest stays as it is"
