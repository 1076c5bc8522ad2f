"""The objects that a server applies."""

from __future__ import annotations

from lab.standins.k3s.api import object_path
from lab.standins.k3s.manifests import agent_config_objects, coredns_objects, node_hosts_object
from tests.lab.k3s.samples import server_settings


class TestCoreDns:
    def test_the_packaged_corefile(self) -> None:
        by_kind = {document["kind"]: document for document in coredns_objects("10.43.0.10", "cluster.local")}
        corefile = by_kind["ConfigMap"]["data"]["Corefile"]
        assert "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n" in corefile
        assert "    import /etc/coredns/custom/*.override\n}\nimport /etc/coredns/custom/*.server\n" in corefile
        assert by_kind["Service"]["spec"]["clusterIP"] == "10.43.0.10"
        volumes = by_kind["Deployment"]["spec"]["template"]["spec"]["volumes"]
        assert {"name": "custom-config-volume", "configMap": {"name": "coredns-custom", "optional": True}} in volumes

    def test_node_hosts_are_internal_addresses_in_order(self) -> None:
        def node(name: str, *addresses: tuple[str, str]) -> dict[str, object]:
            listed = [{"type": kind, "address": address} for kind, address in addresses]
            return {"metadata": {"name": name}, "status": {"addresses": listed}}

        document = node_hosts_object(
            [
                node("b", ("Hostname", "b"), ("InternalIP", "10.0.1.11")),
                node("a", ("InternalIP", "10.0.1.10"), ("ExternalIP", "198.51.100.1")),
            ]
        )
        assert document["data"] == {"NodeHosts": "10.0.1.10 a\n10.0.1.11 b\n"}

    def test_every_object_has_a_path(self) -> None:
        documents = [*coredns_objects("10.43.0.10", "c"), *agent_config_objects(server_settings())]
        assert [object_path(document) for document in documents] == [
            "/api/v1/namespaces/kube-system/serviceaccounts/coredns",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Acoredns",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system%3Acoredns",
            "/api/v1/namespaces/kube-system/configmaps/coredns",
            "/apis/apps/v1/namespaces/kube-system/deployments/coredns",
            "/api/v1/namespaces/kube-system/services/kube-dns",
            "/api/v1/namespaces/kube-public/configmaps/k3s-agent-config",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/roles/k3s-agent-config",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings/k3s-agent-config",
        ]
