"""What is put into a cluster: charts, router, egress, names."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as some

from components import waits
from components.chart import ChartSource
from components.kubernetes_object import TAKEN_BACK
from components.netbird_operator import NetbirdOperator, NetbirdOperatorArgs
from components.netbird_router import host_network_transform
from components.waiting import Waiting
from domain import netbird
from domain.objects.cluster_dns import checksum
from domain.objects.dns_relay import relay_spec
from domain.operator_values import token_mark
from domain.settings.installed import NetbirdSettings
from tests.components.recording import NETBIRD_TOKEN, SECRET_VALUES, Run, run, run_stack
from tests.domain.samples import MN, changed

OURS = {"name": "netbird", "labels": {"isthmus.dev/made-by": "isthmus"}}


@pytest.fixture(scope="module")
def mn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """mn, linked with de."""
    return run_stack(tmp_path_factory.mktemp("mn"), "mn")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Likewise with two routers."""
    config = changed(MN, {"on_premise.machines.0.router": True})
    return run_stack(tmp_path_factory.mktemp("two"), "mn", config=config)


class TestCharts:
    def test_from_a_repository(self) -> None:
        source = ChartSource("cilium", "1.19.6", "https://helm.cilium.io/").location(None)
        assert source == {
            "chart": "cilium",
            "version": "1.19.6",
            "repositoryOpts": {"repo": "https://helm.cilium.io/"},
        }

    def test_from_a_registry(self) -> None:
        source = ChartSource("op", "0.8.0", "oci://ghcr.io/x/op").location(None)
        assert source == {"chart": "oci://ghcr.io/x/op", "version": "0.8.0"}

    def test_from_the_mirror(self, tmp_path: Path) -> None:
        config = changed(MN, {"mirrors": {"charts": "http://192.0.2.1/charts"}})
        found = run_stack(tmp_path, "mn", config=config)
        charts = {item.name: item.inputs["chart"] for item in found.of("Release")}
        assert charts == {
            "isthmus-cilium": "http://192.0.2.1/charts/cilium-1.19.6.tgz",
            "isthmus-netbird-operator": "http://192.0.2.1/charts/netbird-operator-0.8.0.tgz",
        }

    def test_releases_wait_and_are_not_purged(self, mn: Run) -> None:
        for item in mn.some("Release"):
            assert item.inputs["timeout"] == 600
            assert "atomic" not in item.inputs
            assert "skipAwait" not in item.inputs
            assert item.inputs["name"] == item.name, "a random name would make a second release after a lost state"

    def test_values_are_known_in_a_first_preview(self, tmp_path: Path) -> None:
        values = run_stack(tmp_path, "mn", preview=True).one("Release", "isthmus-cilium").inputs["values"]
        assert values["MTU"] == 1280
        assert values["egressGateway"] == {"enabled": True, "reconciliationTriggerInterval": "100ms"}


class TestOperator:
    def test_values(self, mn: Run) -> None:
        release = mn.one("Release", "isthmus-netbird-operator")
        assert release.inputs["namespace"] == "netbird"
        assert release.inputs["values"] == {
            "managementURL": "https://api.netbird.io",
            "routingClientImage": "netbirdio/netbird:0.77.1",
            "netbirdAPI": {"keyFromSecret": {"name": "netbird-mgmt-api-key", "key": "NB_API_KEY"}},
            "keepTLSSecret": True,
            "webhook": {
                "enableCertManager": False,
                "failurePolicy": "Ignore",
                "namespaceSelectors": [{"key": "isthmus.dev/netbird-sidecars", "operator": "Exists"}],
            },
            "operator": {"podAnnotations": {"isthmus.dev/netbird-token": token_mark(NETBIRD_TOKEN, "mn")}},
        }

    def test_another_token_rolls_the_operator(self, mn: Run, tmp_path: Path) -> None:
        def annotations(found: Run) -> dict[str, str]:
            values = found.one("Release", "isthmus-netbird-operator").inputs["values"]
            return dict(values["operator"]["podAnnotations"])

        other = run_stack(tmp_path, "mn", secrets={**SECRET_VALUES, "isthmus:netbirdApiToken": "nbp_another"})
        assert annotations(other).keys() == annotations(mn).keys()
        assert annotations(other) != annotations(mn)

    def test_the_values_are_no_secret_and_known_in_a_preview(self, tmp_path: Path) -> None:
        """A preview shows what of them changes."""
        release = run_stack(tmp_path, "mn", preview=True).one("Release", "isthmus-netbird-operator")
        assert "values" not in release.secret_inputs
        assert token_mark(NETBIRD_TOKEN, "mn") in release.raw

    def test_the_namespace_is_marked_as_ours(self, mn: Run) -> None:
        namespace = mn.one("core/v1:Namespace")
        assert namespace.inputs["metadata"] == OURS
        assert not namespace.retain_on_delete

    @pytest.mark.parametrize(("stays", "metadata"), [(False, OURS), (True, {"name": "netbird"})])
    def test_a_namespace_of_others_stays_theirs(self, stays: bool, metadata: dict[str, Any]) -> None:
        async def body() -> None:
            NetbirdOperator(
                "netbird-operator",
                NetbirdOperatorArgs(
                    cluster="mn",
                    version="0.8.0",
                    management_url="https://nb.example.net",
                    agent_image="netbirdio/netbird:0.77.1",
                    api_token=NETBIRD_TOKEN,
                    mirror=None,
                    recover=None,
                    namespace_stays=stays,
                    waiting=Waiting("mn", pulumi.Output.from_input(""), None, active=False),
                    after=[],
                ),
            )

        namespace = run(body, stack="mn", config={}, preview=False).one("core/v1:Namespace")
        assert (namespace.retain_on_delete, namespace.inputs["metadata"]) == (stays, metadata)

    def test_token(self, mn: Run) -> None:
        secret = mn.one("core/v1:Secret", "netbird-operator-api-key")
        assert secret.inputs["metadata"] == {"name": "netbird-mgmt-api-key", "namespace": "netbird"}
        assert secret.inputs["stringData"] == {"NB_API_KEY": "nbp_token_of_the_tests"}


class TestRouter:
    def test_transform_adds_the_override_and_nothing_else(self) -> None:
        settings = NetbirdSettings()
        manifest = netbird.network_router("mn", settings, 1)
        before = copy.deepcopy(manifest)
        args = _transform_args("kubernetes:netbird.io/v1alpha1:NetworkRouter", manifest)
        result = cast("pulumi.ResourceTransformResult", host_network_transform("mn", settings, ["mn-2"])(args))
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
        assert host_network_transform("mn", NetbirdSettings(), ["mn-2"])(args) is None

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
        assert {one["address"]: one["network_id"] for one in resources} == dict.fromkeys(
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


class TestEgress:
    def test_policy(self, mn: Run) -> None:
        policy = mn.one(":CiliumEgressGatewayPolicy")
        assert policy.inputs["spec"]["destinationCIDRs"] == ["10.42.0.0/16", "10.43.0.0/16"]
        assert "namespace" not in policy.inputs["metadata"]

    def test_a_new_own_address_is_looked_at_again(self, mn: Run) -> None:
        annotations = mn.one(":CiliumEgressGatewayPolicy").inputs["metadata"]["annotations"]
        assert annotations == {"isthmus.dev/source-addresses": "100.92.0.8", **TAKEN_BACK}

    def test_what_was_changed_by_hand_is_taken_back_unless_it_may_be_somebodys_own(self, mn: Run) -> None:
        annotated = {
            f"{item.type.rpartition(':')[2]} {item.inputs['metadata']['name']}": "pulumi.com/patchForce"
            in item.inputs["metadata"].get("annotations", {})
            for item in mn.registrations
            if item.type.startswith("kubernetes:") and not item.type.endswith(":Release")
        }
        assert {one for one, forced in annotated.items() if not forced} == {
            "Namespace netbird",
            "Secret netbird-mgmt-api-key",
        }
        assert annotated["CiliumEgressGatewayPolicy isthmus-to-de"] is annotated["Secret isthmus-keeper-key"] is True

    def test_policies_follow_the_peers_routers(self, mn: Run) -> None:
        found = [
            (item.inputs["peer_routers"], "100.92" in item.inputs["description"]) for item in mn.of(":NetbirdPolicy")
        ]
        assert found == [(["100.92.0.7"], False)] * 4

    def test_policy_comes_after_the_guard_and_netbirds_policies(self, mn: Run) -> None:
        """What is never in plain: the guard is on every node before anything is steered."""
        policy = mn.one(":CiliumEgressGatewayPolicy")
        assert {"isthmus-guard", *(item.name for item in mn.of(":NetbirdPolicy"))} <= policy.depends_on

    def test_guard_knows_the_links_ranges(self, mn: Run) -> None:
        pod = mn.one(":DaemonSet", "isthmus-guard").inputs["spec"]["template"]["spec"]
        environment = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
        assert environment["RANGES"] == "10.42.0.0/16 10.43.0.0/16 100.92.0.7/32"
        assert environment["PODS"] == "10.52.0.0/16"
        assert (pod["hostNetwork"], pod["tolerations"]) == (True, [{"operator": "Exists"}])
        assert "nodeSelector" not in pod

    def test_what_the_waits_look_at_is_what_is_there(self, mn: Run) -> None:
        for wanted, name in (
            (waits.GUARDS, "isthmus-guard"),
            (waits.KEEPERS, "isthmus-keeper"),
            (waits.RELAYS, "isthmus-dns-relay"),
        ):
            there = mn.one(":DaemonSet", name).inputs
            assert (wanted.name, wanted.namespace) == (there["metadata"]["name"], there["metadata"]["namespace"])
            key, _, value = wanted.selector.partition("=")
            assert there["spec"]["selector"]["matchLabels"] == {key: value}

    def test_nothing_that_a_wait_looks_at_is_waited_for_by_the_engine(self, mn: Run) -> None:
        waited = [
            item for item in mn.registrations if item.type.endswith((":DaemonSet", ":DaemonSetPatch", ":Service"))
        ]
        assert len(waited) == 5
        for item in waited:
            assert item.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


@given(some.dictionaries(some.text(), some.text(), max_size=5))
def test_checksum_does_not_hang_on_the_order(data: dict[str, str]) -> None:
    assert checksum(data) == checksum(dict(reversed(data.items())))


class TestNames:
    def test_rollout_never_leaves_the_cluster_without_names(self, mn: Run) -> None:
        patch = mn.one(":DeploymentPatch", "dns-coredns")
        zones = mn.one(":ConfigMapPatch", "dns-zones").inputs["data"]
        assert sorted(zones) == ["astring-de.internal.server", "astring-mn.internal.server"]
        assert patch.inputs["spec"] == {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"annotations": {"isthmus.dev/corefile-sha256": checksum(zones)}}},
        }

    def test_relay_service_is_where_the_corefile_asks(self, mn: Run) -> None:
        service = mn.one("core/v1:Service").inputs["spec"]
        assert service["clusterIP"] == "10.53.0.53"
        assert (
            "forward . 10.53.0.53"
            in mn.one(":ConfigMapPatch", "dns-zones").inputs["data"]["astring-de.internal.server"]
        )
        assert service["ports"] == [
            {"name": "dns-udp", "protocol": "UDP", "port": 53, "targetPort": 1053},
            {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 1053},
        ]
        labels = mn.one(":DaemonSet", "isthmus-dns-relay").inputs["spec"]["template"]["metadata"]["labels"]
        assert service["selector"] == labels

    def test_relay_pod(self) -> None:
        spec = relay_spec("coredns/coredns:1.14.7", "netbirdio/netbird:0.77.1", "exit 0", "sum")
        pod = spec["template"]["spec"]
        assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "Default")
        assert pod["nodeSelector"] == {"isthmus.dev/router": "true"}
        assert spec["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
        wait, relay = pod["initContainers"][0], pod["containers"][0]
        assert wait["image"] == "netbirdio/netbird:0.77.1"
        assert relay["livenessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 8053, "path": "/health"}
        assert relay["readinessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 8054, "path": "/ready"}

    def test_of_several_routers_the_relays_stand_behind_fronts(self, two: Run, mn: Run) -> None:
        """CoreDNS asks the one of its own node; one router alone has none."""
        service = two.one("core/v1:Service").inputs["spec"]
        front = two.one(":DaemonSet", "isthmus-dns-relay-front").inputs["spec"]
        assert service["selector"] == front["template"]["metadata"]["labels"] == front["selector"]["matchLabels"]
        assert service["internalTrafficPolicy"] == "Local"
        assert "internalTrafficPolicy" not in mn.one("core/v1:Service").inputs["spec"]
        assert service["ports"] == mn.one("core/v1:Service").inputs["spec"]["ports"]
        pod = front["template"]["spec"]
        assert "nodeSelector" not in pod
        assert pod["tolerations"] == [{"operator": "Exists"}]
        assert "hostNetwork" not in pod, "the relay has the ports of a router's node"
        corefile = two.one(":ConfigMap", "isthmus-dns-relay-front").inputs["data"]["Corefile"]
        assert "forward . 192.168.7.11:1053 192.168.7.12:1053 {" in corefile
        assert not [item for item in mn.registrations if item.name == "isthmus-dns-relay-front"]
        asked = two.one(":ConfigMapPatch", "dns-zones").inputs["data"]["astring-de.internal.server"]
        assert "max_connect_attempts 2\n" in asked

    def test_several_routers(self, two: Run) -> None:
        assert two.one(":NetworkRouter").inputs["spec"]["workloadOverride"]["replicas"] == 2
        assert [router["node"] for router in two.outputs["link"].value["routers"]] == ["mn-1", "mn-2"]
        assert two.outputs["router_peers"].value == {"mn-1": "100.92.0.9", "mn-2": "100.92.0.8"}

    def test_changed_corefile_restarts_the_relay(self, mn: Run) -> None:
        data = mn.one(":ConfigMap", "isthmus-dns-relay").inputs["data"]
        annotations = mn.one(":DaemonSet", "isthmus-dns-relay").inputs["spec"]["template"]["metadata"]["annotations"]
        assert annotations == {"isthmus.dev/corefile-sha256": checksum(data)}
