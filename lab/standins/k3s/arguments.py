"""What the Kubernetes components are told: their flags, and the kubelet's config file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.standins.k3s.certificates import Certificates, EtcdFiles, KeyPair, api_server_names
from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.etcd import EtcdMember, peer_url
from lab.standins.k3s.layout import AGENT_DIR, API_PORT, CONTAINERD_SOCKET, ETCD_PORT
from lab.standins.k3s.settings import Settings

ETCD_URL = "https://127.0.0.1:2379"


def etcd_arguments(data_dir: Path, authority: Path, server: KeyPair, extra: Sequence[str]) -> list[str]:
    """One member on loopback, with client certificates: pods with hostNetwork share the loopback."""
    peer = "http://127.0.0.1:2380"
    return [
        "--name=default",
        f"--data-dir={data_dir}",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--cert-file={server.certificate}",
        f"--key-file={server.key}",
        f"--trusted-ca-file={authority}",
        "--client-cert-auth",
        "--enable-grpc-gateway=false",
        "--unsafe-no-fsync",
        "--log-level=warn",
        *_flags(extra),
    ]


def etcd_member_arguments(
    data_dir: Path,
    files: EtcdFiles,
    member: EtcdMember,
    extra: Sequence[str],
) -> list[str]:
    """A member that others reach. Heartbeat and election as k3s has them (pkg/etcd/etcd.go)."""
    peer = peer_url(member.address)
    return [
        f"--name={member.name}",
        f"--data-dir={data_dir}",
        f"--listen-client-urls={ETCD_URL},https://{member.address}:{ETCD_PORT}",
        f"--advertise-client-urls=https://{member.address}:{ETCD_PORT}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={member.initial_cluster}",
        f"--initial-cluster-state={'existing' if member.joins else 'new'}",
        f"--cert-file={files.server.certificate}",
        f"--key-file={files.server.key}",
        f"--trusted-ca-file={files.authority}",
        "--client-cert-auth",
        f"--peer-cert-file={files.peer.certificate}",
        f"--peer-key-file={files.peer.key}",
        f"--peer-trusted-ca-file={files.peer_authority}",
        "--peer-client-cert-auth",
        "--heartbeat-interval=500",
        "--election-timeout=5000",
        "--unsafe-no-fsync",
        "--log-level=warn",
        *_flags(extra),
    ]


def api_server_arguments(
    settings: Settings,
    certificates: Certificates,
    etcd_authority: Path,
    etcd_client: KeyPair,
    service_account_key: Path,
    port: int = API_PORT,
) -> list[str]:
    """Flags of kube-apiserver; makes the certificates they name."""
    serving = certificates.serving("kube-apiserver", "kube-apiserver", api_server_names(settings))
    kubelet_client = certificates.client("kube-apiserver", "system:kube-apiserver", "system:masters")
    issuer = f"https://kubernetes.default.svc.{settings.cluster_domain}"
    return [
        f"--advertise-address={settings.node_ip}",
        "--bind-address=0.0.0.0",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={settings.service_cidr}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--anonymous-auth=false",
        "--profiling=false",
        f"--client-ca-file={certificates.client_ca_path}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--kubelet-certificate-authority={certificates.server_ca_path}",
        f"--kubelet-client-certificate={kubelet_client.certificate}",
        f"--kubelet-client-key={kubelet_client.key}",
        # Else `kubectl exec` and `logs` look node names up in DNS.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={service_account_key}",
        f"--service-account-signing-key-file={service_account_key}",
        f"--service-account-issuer={issuer}",
        f"--api-audiences={issuer},k3s",
        f"--etcd-servers={ETCD_URL}",
        f"--etcd-cafile={etcd_authority}",
        f"--etcd-certfile={etcd_client.certificate}",
        f"--etcd-keyfile={etcd_client.key}",
        *_flags(settings.kube_apiserver_arg),
    ]


def controller_manager_arguments(
    settings: Settings, kubeconfig_path: Path, authority: Path, service_account_key: Path, *, several: bool = False
) -> list[str]:
    """Flags of kube-controller-manager."""
    return [
        f"--kubeconfig={kubeconfig_path}",
        "--bind-address=127.0.0.1",
        f"--leader-elect={str(several).lower()}",
        "--profiling=false",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={settings.cluster_cidr}",
        f"--service-cluster-ip-range={settings.service_cidr}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={service_account_key}",
        f"--root-ca-file={authority}",
        *_flags(settings.kube_controller_manager_arg),
    ]


def scheduler_arguments(settings: Settings, kubeconfig_path: Path, *, several: bool = False) -> list[str]:
    """Flags of kube-scheduler."""
    return [
        f"--kubeconfig={kubeconfig_path}",
        "--bind-address=127.0.0.1",
        f"--leader-elect={str(several).lower()}",
        "--profiling=false",
        *_flags(settings.kube_scheduler_arg),
    ]


def kubelet_arguments(settings: Settings, config_path: Path, kubeconfig_path: Path) -> list[str]:
    """Flags of the kubelet, beside its config file."""
    arguments = [
        f"--config={config_path}",
        f"--kubeconfig={kubeconfig_path}",
        f"--node-ip={settings.node_ip}",
        f"--hostname-override={settings.node_name}",
    ]
    if settings.node_label:
        arguments.append(f"--node-labels={','.join(settings.node_label)}")
    return [*arguments, *_flags(settings.kubelet_arg)]


def _flags(arguments: Sequence[str]) -> list[str]:
    """`name=value` of a *-arg setting as a flag."""
    return [f"--{argument.removeprefix('--')}" for argument in arguments]


def parse_taint(text: str) -> dict[str, str]:
    """`key=value:Effect` or `key:Effect` as a taint of the Node object."""
    name, _, effect = text.rpartition(":")
    key, _, value = name.partition("=")
    if not key or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise StandInError(f"node-taint: {text} is not KEY=VALUE:EFFECT")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def kubelet_config(
    settings: Settings, cluster_dns: str, cluster_domain: str, client_ca: Path, serving: KeyPair
) -> dict[str, Any]:
    """The KubeletConfiguration for a machine that is a set of namespaces: it shares cgroups and disk with others."""
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "clusterDNS": [cluster_dns],
        "clusterDomain": cluster_domain,
        "resolvConf": "/etc/resolv.conf",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "staticPodPath": str(AGENT_DIR / "pod-manifests"),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "oomScoreAdj": 0,
        "serializeImagePulls": False,
        # How full the disk under the lab is, is not the machine's business.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }
    if settings.node_taint:
        config["registerWithTaints"] = [parse_taint(text) for text in settings.node_taint]
    return config
