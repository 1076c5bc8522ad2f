"""A cluster's routers: the operator's objects for them, and what is in NetBird before and after."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, cast

import pulumi

from components.kubernetes_object import TAKEN_BACK
from components.netbird_router import host_network_transform
from domain import netbird
from tests.components.recording import Run

AGENT = netbird.Agent("51820", "1280", {})


class TestRouter:
    def test_transform_adds_the_override_and_nothing_else(self) -> None:
        manifest = netbird.network_router("mn", "netbirdio/netbird:0.77.1", 1)
        before = copy.deepcopy(manifest)
        args = _transform_args("kubernetes:netbird.io/v1alpha1:NetworkRouter", manifest)
        result = cast("pulumi.ResourceTransformResult", host_network_transform("mn", AGENT, ["mn-2"])(args))
        assert manifest == before
        spec = cast("dict[str, Any]", result.props["spec"])
        pod = spec["workloadOverride"].pop("podTemplate")["spec"]
        assert pod["hostNetwork"] is True
        assert pod["dnsPolicy"] == "ClusterFirstWithHostNet"
        assert pod["nodeSelector"] == {"isthmus.dev/router": "true"}
        assert {"name": "state", "hostPath": {"path": "/var/lib/netbird-router", "type": "DirectoryOrCreate"}} in pod[
            "volumes"
        ]
        assert {**result.props, "spec": spec} == before
        assert result.opts is args.opts

    def test_transform_leaves_other_resources_alone(self) -> None:
        args = _transform_args("kubernetes:netbird.io/v1alpha1:SetupKey", {"spec": {}})
        assert host_network_transform("mn", AGENT, ["mn-2"])(args) is None

    def test_the_router_is_waited_for_and_its_key_is_not(self, mn: Run) -> None:
        router, key = mn.one(":NetworkRouter"), mn.one(":SetupKey")
        assert router.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Ready", **TAKEN_BACK}
        # Its word may never come, see the module.
        assert key.inputs["metadata"]["annotations"] == {
            "isthmus.dev/setup-key-renewals": "0",
            **TAKEN_BACK,
        }
        assert {item.inputs["metadata"]["namespace"] for item in (router, key)} == {"netbird"}

    def test_a_setup_key_is_replaced_and_never_changed(self, mn: Run) -> None:
        key = mn.one(":SetupKey")
        assert (key.replace_on_changes, key.delete_before_replace) == (("spec",), True)

    def test_the_network_is_that_of_the_routers_status(self, mn: Run) -> None:
        resources = [item.inputs for item in mn.some(":NetbirdNetworkResource")]
        assert {resource["address"]: resource["network_id"] for resource in resources} == dict.fromkeys(
            ("10.52.0.0/16", "10.53.0.0/16"), "network-of-networkrouter-isthmus-mn"
        )

    def test_nothing_is_in_netbird_before_the_claim(self, mn: Run) -> None:
        (claim,) = [item.name for item in mn.of(":NetbirdClaim")]
        (instance,) = [item.name for item in mn.of(":StackInstance")]
        assert instance in mn.one(":NetbirdClaim").depends_on
        first = [item for item in mn.registrations if item.type.endswith((":NetbirdGroup", ":NetbirdDnsZone"))]
        assert [claim in item.depends_on or "isthmus-mn-pods" in item.depends_on for item in first] == [True] * 4

    def test_the_setup_key_does_not_wait_for_the_router(self, mn: Run) -> None:
        """Its pod can't start without the key: an operator that waits for the pod would wait for ever."""
        assert "networkrouter-isthmus-mn" not in mn.one(":SetupKey").depends_on

    def test_the_old_pod_goes_first(self, mn: Run) -> None:
        patch = mn.one(":DeploymentPatch", "networkrouter-isthmus-mn")
        assert patch.inputs["spec"] == {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        }
        assert patch.retain_on_delete

    def test_a_new_router_means_a_new_resource_and_new_peers(self, mn: Run) -> None:
        uid = "uid-of-networkrouter-isthmus-mn"
        assert [item.inputs["router_uid"] for item in mn.some(":NetbirdNetworkResource")] == [uid, uid]
        assert mn.one(":NetbirdRouterPeers").inputs["router_uid"] == uid


def _transform_args(type_: str, manifest: dict[str, Any]) -> pulumi.ResourceTransformArgs:
    return cast(
        "pulumi.ResourceTransformArgs",
        SimpleNamespace(custom=True, type_=type_, name="x", props=manifest, opts=pulumi.ResourceOptions()),
    )
