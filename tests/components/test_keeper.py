"""The keeper's objects: what it runs, what it is told, and what it may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domain import netbird
from tests.components.recording import Run, run_stack, shared_run
from tests.domain.samples import DE, GIVEN, MN, changed


def pod(found: Run) -> dict[str, Any]:
    spec: dict[str, Any] = found.one(":DaemonSet", "isthmus-keeper").inputs["spec"]["template"]["spec"]
    return spec


def environment(found: Run) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in pod(found)["containers"][0]["env"]}


class TestPod:
    def test_it_is_in_the_network_of_routers_with_the_rights_to_change_that_alone(self, mn: Run) -> None:
        (container,) = pod(mn)["containers"]
        assert (pod(mn)["hostNetwork"], pod(mn)["nodeSelector"]) == (True, {"isthmus.dev/router": "true"})
        assert container["securityContext"] == {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        }

    def test_every_mount_has_its_volume(self, mn: Run) -> None:
        mounts = {mount["name"]: mount["mountPath"] for mount in pod(mn)["containers"][0]["volumeMounts"]}
        assert set(mounts) == {volume["name"] for volume in pod(mn)["volumes"]}
        command = pod(mn)["containers"][0]["command"]
        assert command == [
            "python3", f"{mounts['program']}/keeper.pyz", "--config", f"{mounts['config']}/keeper.json",
        ]  # fmt: skip

    def test_the_agents_socket_is_where_the_keeper_looks(self, mn: Run) -> None:
        override = netbird.pod_template_override("mn", netbird.Agent("51820", "1280", {}), ["mn-2"])["spec"]
        (agents,) = [volume for volume in override["volumes"] if volume["name"] == "wireguard"]
        (keepers,) = [volume for volume in pod(mn)["volumes"] if volume["name"] == "wireguard"]
        assert agents == keepers

    def test_it_reaches_the_api_as_cilium_does(self, mn: Run, tmp_path: Path) -> None:
        found = environment(mn)
        assert (found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "6444")
        config = changed(GIVEN, {"cilium": {"values": {"k8sServiceHost": "10.9.0.1", "k8sServicePort": 443}}})
        found = environment(run_stack(tmp_path, "mn", config=config))
        assert (found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]) == ("10.9.0.1", "443")

    def test_or_as_kubernetes_says(self, tmp_path: Path) -> None:
        config = changed(GIVEN, {"cilium": {"values": {"k8sServiceHost": "auto"}}})
        assert "KUBERNETES_SERVICE_HOST" not in environment(run_stack(tmp_path, "mn", config=config))


class TestTold:
    def test_what_it_is_told(self, mn: Run) -> None:
        told = json.loads(mn.one(":ConfigMap", "isthmus-keeper").inputs["data"]["keeper.json"])
        assert (told["cluster"], told["routers"]) == ("mn", {"mn-2": "192.168.7.12"})
        # The samples' peer was raised by a program without keepers.
        assert told["peers"]["de"]["port"] is None
        assert not [item for item in mn.of(":NetbirdPolicy") if item.name.endswith("-keeper")]

    def test_it_is_told_of_a_peers_keepers(self, tmp_path: Path) -> None:
        found = run_stack(tmp_path, "mn", peer_outputs={"keeper": {"port": 51900}})
        told = json.loads(found.one(":ConfigMap", "isthmus-keeper").inputs["data"]["keeper.json"])
        assert told["peers"]["de"]["port"] == 51900
        assert found.one(":NetbirdPolicy", "isthmus-mn-to-de-keeper").inputs["ports"] == ["51900"]

    def test_what_it_is_told_is_its_own_to_read_anew(self, mn: Run) -> None:
        """Another peer, and no keeper starts anew."""
        pending = shared_run("mn", linked=False)
        assert pod(pending) == pod(mn)
        assert json.loads(pending.one(":ConfigMap", "isthmus-keeper").inputs["data"]["keeper.json"])["peers"] == {}

    def test_the_guard_lets_it_in(self, mn: Run, tmp_path: Path) -> None:
        def port(found: Run) -> str | None:
            guard = found.one(":DaemonSet", "isthmus-guard").inputs["spec"]["template"]["spec"]
            return {variable["name"]: variable["value"] for variable in guard["containers"][0]["env"]}.get(
                "KEEPER_PORT"
            )

        assert port(mn) == "51823"
        assert port(run_stack(tmp_path, "mn", config=changed(MN, {"keeper": {"enabled": False}}))) is None


class TestRights:
    def test_what_it_may_do(self, mn: Run) -> None:
        everywhere = mn.one(":ClusterRole").inputs["rules"]
        assert everywhere == [
            {
                "apiGroups": ["cilium.io"],
                "resources": ["ciliumegressgatewaypolicies"],
                "verbs": ["get", "list", "watch"],
            },
            {
                "apiGroups": ["cilium.io"],
                "resources": ["ciliumegressgatewaypolicies"],
                "resourceNames": [mn.one(":CiliumEgressGatewayPolicy").inputs["metadata"]["name"]],
                "verbs": ["patch"],
            },
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ]
        agents = mn.one(":Role").inputs
        assert agents["metadata"]["namespace"] == "netbird"
        assert agents["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "delete"]}]

    def test_without_a_link_it_may_steer_nothing(self) -> None:
        found = shared_run("mn", linked=False)
        assert [rule["verbs"] for rule in found.one(":ClusterRole").inputs["rules"]] == [
            ["get", "list", "watch"],
            ["get"],
            ["create", "patch"],
        ]

    def test_its_role_comes_after_the_namespace_of_the_agents(self, mn: Run) -> None:
        assert "isthmus-netbird-operator" in mn.one(":Role").depends_on


class TestNone:
    @pytest.mark.parametrize(
        ("stack", "config"),
        [
            pytest.param("mn", changed(MN, {"keeper": {"enabled": False}}), id="switched off"),
            pytest.param("de", changed(DE, {"peers": []}), id="no peers"),
        ],
    )
    def test_nothing_of_it_is_there(self, tmp_path: Path, stack: str, config: dict[str, Any]) -> None:
        other = {"mn": {}, "de": {"mn": changed(MN, {"peers": []})}}[stack]
        found = run_stack(tmp_path, stack, config=config, others=other, peer_outputs={"keeper": {"port": 51823}})
        assert [item.name for item in found.registrations if "keeper" in item.name] == []
        assert found.outputs["keeper"].value is None
