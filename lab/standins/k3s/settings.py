"""k3s's own config files: read, merged and checked. Every wrong setting is told at once."""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.layout import API_PORT


@dataclass(frozen=True)
class Settings:
    """What config.yaml says, checked; names as in `k3s server --help` with underscores."""

    role: str
    token: str = field(repr=False)
    node_name: str
    node_ip: str
    server: str = ""
    cluster_init: bool = False
    node_label: tuple[str, ...] = ()
    node_taint: tuple[str, ...] = ()
    kubelet_arg: tuple[str, ...] = ()
    tls_san: tuple[str, ...] = ()
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    cluster_dns: str = ""
    cluster_domain: str = "cluster.local"
    disable: tuple[str, ...] = ()
    write_kubeconfig_mode: int = 0o600
    kube_apiserver_arg: tuple[str, ...] = ()
    kube_controller_manager_arg: tuple[str, ...] = ()
    kube_scheduler_arg: tuple[str, ...] = ()
    etcd_arg: tuple[str, ...] = ()

    @property
    def api_server(self) -> tuple[str, int]:
        """Host and port to which 127.0.0.1:6444 forwards, on an agent as long as it knows no others."""
        if self.role == "server":
            return "127.0.0.1", API_PORT
        return self.joined

    @property
    def joined(self) -> tuple[str, int]:
        """Host and port of ``server``."""
        url = urllib.parse.urlsplit(self.server)
        return url.hostname or "", url.port or API_PORT


PACKAGED_COMPONENTS = ("coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes")
AGENT_SETTINGS = {"token", "server", "node-name", "node-ip", "node-label", "node-taint", "kubelet-arg"}
SERVER_SETTINGS = AGENT_SETTINGS | {
    "tls-san",
    "cluster-cidr",
    "service-cidr",
    "cluster-dns",
    "cluster-domain",
    "flannel-backend",
    "disable-network-policy",
    "disable-kube-proxy",
    "disable",
    "write-kubeconfig-mode",
    "kube-apiserver-arg",
    "kube-controller-manager-arg",
    "kube-scheduler-arg",
    "etcd-arg",
    "cluster-init",
    # What these switch is not there in any case.
    "disable-cloud-controller",
    "disable-helm-controller",
}
LIST_SETTINGS = {
    "node-label",
    "node-taint",
    "kubelet-arg",
    "tls-san",
    "disable",
    "kube-apiserver-arg",
    "kube-controller-manager-arg",
    "kube-scheduler-arg",
    "etcd-arg",
}
BOOLEAN_SETTINGS = {
    "disable-network-policy",
    "disable-kube-proxy",
    "cluster-init",
    "disable-cloud-controller",
    "disable-helm-controller",
}


def read_config(path: Path) -> dict[str, Any]:
    """The merged mapping of FILE and FILE.d/*.yaml: later files win, `key+` appends.

    https://docs.k3s.io/installation/configuration#multiple-config-files
    """
    files = [path] if path.exists() else []
    directory = path.with_name(path.name + ".d")
    if directory.is_dir():
        files += sorted(file for file in directory.iterdir() if file.suffix in (".yaml", ".yml"))
    merged: dict[str, Any] = {}
    for file in files:
        try:
            document = yaml.safe_load(file.read_text())
        except yaml.YAMLError as error:
            # The text of the error quotes the file, which holds the token.
            mark = getattr(error, "problem_mark", None)
            raise StandInError(f"{file}: not YAML{f' (line {mark.line + 1})' if mark else ''}") from None
        if document is None:
            continue
        if not isinstance(document, dict):
            raise StandInError(f"{file}: expected a mapping of settings")
        for key, value in document.items():
            name = str(key)
            if name.endswith("+"):
                name = name[:-1]
                merged[name] = [*as_list(merged.get(name)), *as_list(value)]
            else:
                merged[name] = value
    return merged


def as_list(value: Any) -> list[Any]:
    """The items of what may be nothing, one value or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def parse_settings(role: str, config: Mapping[str, Any], hostname: str, default_ip: str = "") -> Settings:
    """Check a merged config; raises StandInError that names every wrong setting."""
    known = SERVER_SETTINGS if role == "server" else AGENT_SETTINGS
    errors: list[str] = []
    texts: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    flags: dict[str, bool] = {}
    for name in config:
        value = config[name]
        if name not in known:
            errors.append(f"unknown setting {name}: k3s {role} has no such flag, or this stand-in does not do it")
        elif name in LIST_SETTINGS:
            items = [str(item) for item in as_list(value)]
            if name == "disable":
                items = [part.strip() for item in items for part in item.split(",")]
            lists[name] = tuple(items)
        elif name in BOOLEAN_SETTINGS:
            if not isinstance(value, bool):
                errors.append(f"{name}: expected true or false")
            flags[name] = value is True
        elif isinstance(value, (dict, list)) or value is None:
            errors.append(f"{name}: expected one value")
        else:
            texts[name] = str(value)

    if not texts.get("token"):
        errors.append("token: required; it is what the certificates are derived from")
    node_ip = texts.get("node-ip", default_ip)
    if not is_ipv4(node_ip):
        errors.append(f"node-ip: {node_ip or 'missing'} is not one IPv4 address")
    if role == "agent" or "server" in texts:
        url = urllib.parse.urlsplit(texts.get("server", ""))
        if url.scheme != "https" or not url.hostname:
            errors.append(f"server: {'required on an agent, as' if role == 'agent' else 'is not'} https://HOST:6443")
    if role == "server":
        errors += _check_server(texts, lists, flags)
    if errors:
        raise StandInError("; ".join(errors))

    service_cidr = texts.get("service-cidr", Settings.service_cidr)
    cluster_dns = texts.get("cluster-dns", str(ipaddress.IPv4Network(service_cidr)[10]))
    return Settings(
        role=role,
        token=texts["token"],
        node_name=texts.get("node-name", hostname).lower(),
        node_ip=node_ip,
        server=texts.get("server", ""),
        cluster_init=flags.get("cluster-init", False),
        cluster_cidr=texts.get("cluster-cidr", Settings.cluster_cidr),
        service_cidr=service_cidr,
        cluster_dns=cluster_dns if role == "server" else "",
        cluster_domain=texts.get("cluster-domain", Settings.cluster_domain),
        write_kubeconfig_mode=int(texts.get("write-kubeconfig-mode", "600"), 8),
        **{name.replace("-", "_"): value for name, value in lists.items()},
    )


def _check_server(
    texts: Mapping[str, str], lists: Mapping[str, tuple[str, ...]], flags: Mapping[str, bool]
) -> list[str]:
    errors = []
    if texts.get("flannel-backend") != "none":
        errors.append("flannel-backend: must be none, flannel is not in this stand-in")
    errors += [
        f"{name}: must be true, what it switches off is not in this stand-in"
        for name in ("disable-network-policy", "disable-kube-proxy")
        if not flags.get(name)
    ]
    for name in ("cluster-cidr", "service-cidr"):
        try:
            ipaddress.IPv4Network(texts.get(name, "10.42.0.0/16"))
        except ValueError as error:
            errors.append(f"{name}: {error}")
    if "cluster-dns" in texts and not is_ipv4(texts["cluster-dns"]):
        errors.append(f"cluster-dns: {texts['cluster-dns']} is not one IPv4 address")
    packaged = ", ".join(PACKAGED_COMPONENTS)
    errors += [
        f"disable: {name} is none of {packaged}" for name in lists.get("disable", ()) if name not in PACKAGED_COMPONENTS
    ]
    mode = texts.get("write-kubeconfig-mode", "600")
    if not (mode.isdigit() and set(mode) <= set("01234567")):
        errors.append(f"write-kubeconfig-mode: {mode} is not an octal mode")
    return errors


def is_ipv4(text: str) -> bool:
    """Whether the text is one IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def default_address() -> str:
    """The source address of the default route; asks the kernel, sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
