"""What the Kubernetes components are told."""

from __future__ import annotations

from pathlib import Path

import yaml

from lab.standins.k3s.arguments import (
    api_server_arguments,
    controller_manager_arguments,
    etcd_arguments,
    kubelet_arguments,
    kubelet_config,
    scheduler_arguments,
)
from lab.standins.k3s.certificates import Certificates, KeyPair
from lab.standins.k3s.kubeconfig import kubeconfig
from tests.lab.k3s.samples import TOKEN, server_settings


class TestComponents:
    def test_no_component_sees_the_token(self, tmp_path: Path) -> None:
        settings = server_settings()
        certificates = Certificates(settings, tmp_path / "tls")
        authority, etcd_server, etcd_client = certificates.etcd()
        key = tmp_path / "service.key"
        arguments = [
            *etcd_arguments(tmp_path, authority, etcd_server, ()),
            *api_server_arguments(settings, certificates, authority, etcd_client, key),
            *controller_manager_arguments(settings, tmp_path / "c", certificates.server_ca_path, key),
            *scheduler_arguments(settings, tmp_path / "s"),
            *kubelet_arguments(settings, tmp_path / "k", tmp_path / "kk"),
        ]
        assert not [argument for argument in arguments if TOKEN in argument]
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN in path.read_text()]

    def test_extra_arguments_come_last_so_that_they_win(self, tmp_path: Path) -> None:
        settings = server_settings(**{"kubelet-arg": ["node-ip=10.0.1.99", "v=4"], "node-label": ["a=b", "c=d"]})
        assert kubelet_arguments(settings, tmp_path / "k", tmp_path / "kk")[-3:] == [
            "--node-labels=a=b,c=d",
            "--node-ip=10.0.1.99",
            "--v=4",
        ]

    def test_the_kubelet_is_told_its_dns_and_taints(self, tmp_path: Path) -> None:
        settings = server_settings(**{"node-taint": "router=true:NoSchedule"})
        pair = KeyPair(tmp_path / "a", tmp_path / "b")
        config = kubelet_config(settings, "10.43.0.10", "cluster.local", tmp_path / "ca", pair)
        assert config["clusterDNS"] == ["10.43.0.10"]
        assert config["registerWithTaints"] == [{"key": "router", "value": "true", "effect": "NoSchedule"}]
        assert config["cgroupDriver"] == "cgroupfs"

    def test_a_kubeconfig_in_k3s_shape(self, tmp_path: Path) -> None:
        certificates = Certificates(server_settings(), tmp_path / "tls")
        pair = certificates.client("admin", "system:admin", "system:masters")
        text = kubeconfig("https://127.0.0.1:6443", certificates.server_ca_path, pair, embed=True)
        document = yaml.safe_load(text)
        assert document["clusters"][0]["cluster"].keys() == {"certificate-authority-data", "server"}
        assert document["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}
        assert document["current-context"] == document["contexts"][0]["name"] == "default"
