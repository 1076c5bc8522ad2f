"""The files that make a machine a node of k3s, the same for Hetzner (in user data) and on-premise (over SSH).

It owns k3s's settings and what lies where on a node; ``files/install-k3s.sh`` owns what is done with it. Equal input
gives equal bytes.
"""

from __future__ import annotations

import functools
import hashlib
import shlex
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from domain.k3s_release import BINARIES, release_url
from domain.names import (
    API_PORT,
    INSTALL_SCRIPT,
    JOIN_SCRIPT,
    K3S_BINARY,
    K3S_CONFIG,
    K3S_REGISTRIES,
    NODE_ENVIRONMENT,
    NODE_PASSWORD,
    UNINSTALL_SCRIPT,
)
from domain.nodes import Architecture, Node
from domain.places.registry import StackSettings
from domain.plan import AddressPlan
from domain.settings.installed import K3sSettings

DISABLED_ADDONS: Final = ("servicelb", "traefik")
"""Packaged add-ons of k3s that would take node ports; whoever wants one installs his own."""
NEEDED_ADDONS: Final = {
    "coredns": "the zones of this cluster and of its peers are answered by it",
    "ccm": "it takes the taint off new Nodes",
    "rolebindings": "the nodes have their rights by it",
}
"""Packaged add-ons that must not be disabled, with the reason."""

_OURS: Final = frozenset(
    {
        "token", "node-name", "node-ip", "node-label", "server", "cluster-init", "cluster-cidr", "service-cidr",
        "cluster-dns", "flannel-backend", "disable-network-policy", "disable-kube-proxy", "write-kubeconfig-mode",
    }
)  # fmt: skip
FORBIDDEN_K3S_SETTINGS: Final = {
    "cluster-cidr": "it is network.pod_cidr",
    "service-cidr": "it is network.service_cidr",
    "cluster-dns": "it is network.cluster_dns",
    "cluster-domain": "the relay and this program's zones stand beside cluster.local",
    "token-file": "the token is derived from clusterSecret",
    "agent-token": "the token is derived from clusterSecret",
    "agent-token-file": "the token is derived from clusterSecret",
    "data-dir": "the program looks for k3s's files where k3s has them by default",
    "write-kubeconfig": "the program fetches the kubeconfig from where k3s writes it by default",
    "https-listen-port": "the nodes, Cilium and the firewall know the port 6443",
    "lb-server-port": "Cilium reaches the API by the port 6444 of every node",
    "supervisor-port": "the nodes reach each other by the port 6443",
    "bind-address": "Cilium reaches the API by 127.0.0.1 of every node",
    "advertise-address": "it is the node's address",
    "node-external-ip": "Cilium and the link count on the node's own address",
    "disable-agent": "every node runs pods of Cilium",
    "disable-apiserver": "every server runs the API",
    "disable-etcd": "servers join by etcd",
    "disable-scheduler": "a server alone would schedule nothing",
    "disable-controller-manager": "nodes would get no pod CIDR",
    "datastore-endpoint": "servers join by etcd",
    "cluster-reset": "it is for a repair by hand",
    "docker": "images come by containerd, as mirrors.registries says it",
    "container-runtime-endpoint": "images come by containerd, as mirrors.registries says it",
    "private-registry": "it is mirrors.registries",
    "vpn-auth": "k3s would make a network of its own beside the link",
    "vpn-auth-file": "k3s would make a network of its own beside the link",
    "node-taint": "Cilium and the router have to run on every node",
    "flannel-iface": "Cilium is the network of the pods",
    "flannel-conf": "Cilium is the network of the pods",
    "flannel-ipv6-masq": "Cilium is the network of the pods",
    "flannel-external-ip": "Cilium is the network of the pods",
    "flannel-cni-conf": "Cilium is the network of the pods",
    "kube-proxy-arg": "k3s runs without kube-proxy",
    "config": "the program writes the config file",
    "with-node-id": "the program waits for every Node by its name",
    "rootless": "Cilium and the link need the machine's own network",
    "advertise-port": "the nodes, Cilium and the firewall know the port 6443",
    "disable-apiserver-lb": "Cilium reaches the API by the port 6444 of every node",
}
"""Settings of k3s that neither ``k3s.server_config`` nor ``k3s.agent_config`` may hold, with the reason."""
NOT_COMPARED: Final = ("cluster-init", "node-ip", "node-label", "node-name", "node-taint", "server", "token")
"""Settings that are no reason to start k3s anew on a node that runs: each node's own, what counts until it has joined,
and the token, of which no digest is to be had either.
"""
_CLOUD: Final = "k3s and its own cloud controller agree on it, and this program brings no other"
_PODS: Final = {
    "allocate-node-cidrs": "nodes would get no pod CIDR",
    "cluster-cidr": FORBIDDEN_K3S_SETTINGS["cluster-cidr"],
}
FORBIDDEN_K3S_ARGUMENTS: Final = {
    "kube-apiserver-arg": {
        "service-cluster-ip-range": FORBIDDEN_K3S_SETTINGS["service-cidr"],
        "advertise-address": FORBIDDEN_K3S_SETTINGS["advertise-address"],
        "bind-address": FORBIDDEN_K3S_SETTINGS["bind-address"],
        "secure-port": FORBIDDEN_K3S_SETTINGS["https-listen-port"],
        "etcd-servers": FORBIDDEN_K3S_SETTINGS["datastore-endpoint"],
        "cloud-provider": _CLOUD,
        "cloud-config": _CLOUD,
    },
    "kube-controller-manager-arg": {
        **_PODS,
        "service-cluster-ip-range": FORBIDDEN_K3S_SETTINGS["service-cidr"],
        **dict.fromkeys(
            ("node-cidr-mask-size", "node-cidr-mask-size-ipv4"), "every node takes a /24 of network.pod_cidr"
        ),
        "cloud-provider": _CLOUD,
        "external-cloud-volume-plugin": _CLOUD,
    },
    "kube-cloud-controller-manager-arg": {**_PODS, "cloud-provider": _CLOUD},
    "kubelet-arg": {
        "cluster-dns": FORBIDDEN_K3S_SETTINGS["cluster-dns"],
        "cluster-domain": FORBIDDEN_K3S_SETTINGS["cluster-domain"],
        "node-ip": "it is the node's address",
        "hostname-override": FORBIDDEN_K3S_SETTINGS["with-node-id"],
        "node-labels": "the router's label would not be set any more",
        "pod-cidr": "every node takes a /24 of network.pod_cidr",
        "register-node": "every node runs pods of Cilium",
        "register-with-taints": FORBIDDEN_K3S_SETTINGS["node-taint"],
        "container-runtime-endpoint": FORBIDDEN_K3S_SETTINGS["container-runtime-endpoint"],
        "cloud-provider": _CLOUD,
    },
}
"""Arguments that the lists ``...-arg`` of these settings may not hold, with the reason: they count over what the
program sets. In the words of https://kubernetes.io/docs/reference/command-line-tools-reference/"""


def k3s_argument(entry: str) -> str:
    """The name in an entry of a list ``...-arg``, as Kubernetes reads it: ``a_b+=c`` is ``a-b``."""
    return entry.partition("=")[0].strip().lstrip("-").rstrip("+-").replace("_", "-").lower()


def fixed_k3s_setting(name: str) -> bool:
    """Whether the program writes this setting itself."""
    return name in _OURS


@dataclass(frozen=True)
class NodeFile:
    """A file on a node. ``content`` may hold a secret, so it is not in the repr."""

    path: str
    mode: int
    content: str = field(repr=False)


def node_files(
    plan: AddressPlan, node: Node, settings: StackSettings, token: str, password: str
) -> tuple[NodeFile, ...]:
    """All of them, by path. ``token`` is the cluster's k3s token, ``password`` the node's own. ValueError for a cluster
    that is given.
    """
    if not settings.installs_k3s:
        raise ValueError(f"{settings.stack}: nothing is installed on the nodes of a given cluster")
    unit = unit_name(node)
    files = [
        NodeFile(K3S_CONFIG, 0o600, as_yaml(k3s_config(plan, node, token) | _further(node, settings))),
        NodeFile(f"/etc/systemd/system/{unit}", 0o644, systemd_unit(plan, node)),
        NodeFile(INSTALL_SCRIPT, 0o755, script("install-k3s.sh")),
        NodeFile(UNINSTALL_SCRIPT, 0o755, script("uninstall-k3s.sh")),
        NodeFile(NODE_ENVIRONMENT, 0o600, environment(plan, node, settings)),
        # Not where k3s looks for it: a node that runs has one already, and k3s would refuse it with another.
        NodeFile(NODE_PASSWORD, 0o600, f"{password}\n"),
    ]
    if plan.joins_by_list:
        files.append(NodeFile(JOIN_SCRIPT, 0o755, script("join-k3s.sh")))
    if settings.mirrors.registries:
        files.append(NodeFile(K3S_REGISTRIES, 0o600, as_yaml(registries(settings))))
    return tuple(sorted(files, key=lambda file: file.path))


def unit_name(node: Node) -> str:
    """The systemd unit, named as k3s's own installer names it."""
    return "k3s.service" if node.role == "server" else "k3s-agent.service"


def k3s_config(plan: AddressPlan, node: Node, token: str) -> dict[str, Any]:
    """``/etc/rancher/k3s/config.yaml`` (https://docs.k3s.io/installation/configuration#configuration-file).

    ``node-label`` counts at registration only; the router's label lies outside of kubernetes.io, so a kubelet may set
    it. With several servers ``server`` and ``cluster-init`` are not in it: the node finds out which it needs
    (``files/join-k3s.sh``) and leaves it in a file of ``config.yaml.d``.
    """
    config: dict[str, Any] = {"token": token, "node-name": node.name, "node-ip": str(node.address)}
    if node.labels:
        config["node-label"] = [f"{name}={value}" for name, value in sorted(node.labels.items())]
    if node.marks.taints:
        # From its registration on, so that no pod comes before it; later changes are the `up`'s (node_marks.py).
        config["node-taint"] = list(node.marks.taints)
    if node.role == "agent":
        if not plan.joins_by_list:
            (server,) = plan.servers
            config["server"] = f"https://{server.address}:{API_PORT}"
        return config
    return config | {
        "cluster-cidr": str(plan.pod_cidr),
        "service-cidr": str(plan.service_cidr),
        "cluster-dns": str(plan.cluster_dns),
        "flannel-backend": "none",
        "disable-network-policy": True,
        "disable-kube-proxy": True,
        "disable": list(DISABLED_ADDONS),
        "write-kubeconfig-mode": "0600",
    }


def _further(node: Node, settings: StackSettings) -> dict[str, Any]:
    """The user's own settings of k3s; ``disable`` adds to ours."""
    if settings.k3s is None:
        return {}
    own = settings.k3s.server_config if node.role == "server" else settings.k3s.agent_config
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
    if node.role == "server" and "disable" in values:
        theirs = values["disable"]
        more = theirs if isinstance(theirs, list) else [str(theirs)]
        values["disable"] = sorted({*DISABLED_ADDONS, *more})
    return values


def settings_digest(plan: AddressPlan, node: Node, settings: StackSettings) -> str:
    """SHA-256 of what k3s is started with on all nodes of this one's role: the same text of which
    ``files/say-k3s-settings.sh`` makes it on a machine. No secret is in that text.
    """
    config = k3s_config(plan, node, token="") | _further(node, settings)
    compared = {name: value for name, value in config.items() if name not in NOT_COMPARED}
    text = as_yaml(compared) if compared else ""
    if settings.mirrors.registries:
        text += f"---\n{as_yaml(registries(settings))}"
    return hashlib.sha256(text.encode()).hexdigest()


def registries(settings: StackSettings) -> dict[str, Any]:
    """``/etc/rancher/k3s/registries.yaml`` (https://docs.k3s.io/installation/private-registry)."""
    mirrors = settings.mirrors.registries
    return {"mirrors": {registry: {"endpoint": [mirrors[registry]]} for registry in sorted(mirrors)}}


def k3s_url(settings: StackSettings, architecture: Architecture = "amd64") -> str:
    """Where nodes of that architecture get the k3s binary."""
    if settings.k3s is None:
        raise ValueError(f"{settings.stack}: k3s is not set")
    return release_url(settings.k3s.version, BINARIES[architecture], settings.mirrors.k3s)


def k3s_checksum(settings: K3sSettings, architecture: Architecture) -> str:
    """Of that binary."""
    checksum = settings.sha256 if architecture == "amd64" else settings.sha256_arm64
    if checksum is None:
        raise ValueError(f"no checksum of k3s for {architecture} is set")
    return checksum


def environment(plan: AddressPlan, node: Node, settings: StackSettings) -> str:
    """What install-k3s and join-k3s read: assignments for a shell, one a line. No secrets."""
    if settings.k3s is None:
        raise ValueError(f"{settings.stack}: k3s is not set")
    values = {
        "ISTHMUS_K3S_ROLE": str(node.role),
        "ISTHMUS_K3S_SHA256": k3s_checksum(settings.k3s, node.architecture),
        "ISTHMUS_K3S_UNIT": unit_name(node),
        "ISTHMUS_K3S_URL": k3s_url(settings, node.architecture),
        "ISTHMUS_K3S_VERSION": settings.k3s.version,
        "ISTHMUS_NODE_ADDRESS": str(node.address),
        "ISTHMUS_NODE_NAME": node.name,
        "ISTHMUS_REGISTRIES": "yes" if settings.mirrors.registries else "no",
    }
    if plan.joins_by_list:
        values["ISTHMUS_SERVERS"] = " ".join(str(server.address) for server in plan.servers)
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(values.items()))


def systemd_unit(plan: AddressPlan, node: Node) -> str:
    """The unit, with the lines of k3s's own that matter (https://get.k3s.io). A start may take as long as it likes, so
    a node that waits for a server does so within it.
    """
    return "\n".join(
        [
            "[Unit]",
            "Description=Lightweight Kubernetes",
            "Documentation=https://k3s.io",
            "Wants=network-online.target",
            "After=network-online.target",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=notify",
            "KillMode=process",
            "Delegate=yes",
            "LimitNOFILE=1048576",
            "LimitNPROC=infinity",
            "LimitCORE=infinity",
            "TasksMax=infinity",
            "TimeoutStartSec=0",
            "Restart=always",
            "RestartSec=5s",
            "ExecStartPre=-/sbin/modprobe br_netfilter",
            "ExecStartPre=-/sbin/modprobe overlay",
            *([f"ExecStartPre={JOIN_SCRIPT}"] if plan.joins_by_list else []),
            f"ExecStart={K3S_BINARY} {node.role}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


@functools.cache
def script(name: str) -> str:
    """A shell script that ships with this package."""
    from importlib import resources  # here, because it takes long to import, and a plan renders no files

    return resources.files("domain").joinpath("files", name).read_text(encoding="utf-8")


def as_yaml(data: dict[str, Any]) -> str:
    """Block style, sorted keys, no line folding: equal data gives equal bytes."""
    text: str = yaml.safe_dump(data, default_flow_style=False, sort_keys=True, width=10**6, allow_unicode=False)
    return text
