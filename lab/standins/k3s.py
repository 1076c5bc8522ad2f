#!/usr/bin/python3
"""Stand-in for the k3s binary: one file, served to the machines as the artifact `k3s`.

It reads k3s's own config file and runs the same Kubernetes components that k3s embeds, as child processes:
etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubelet from /usr/libexec/isthmus-lab, containerd
from the machine's distribution. It needs Python 3.11, PyYAML and cryptography, as Debian 12 has them.

    k3s server|agent [--config FILE]    run a node; a setting that k3s has and this file has not is refused
    k3s kubectl ...   k3s ctr ...       the client programs with this node's credentials (also by the name of the link)
    k3s --version

Files are where k3s has them: /etc/rancher/k3s/{config.yaml,config.yaml.d,registries.yaml,k3s.yaml},
/var/lib/rancher/k3s/{server,agent}, /run/k3s/containerd/containerd.sock, the API on 6443 and, on every node, on
127.0.0.1:6444.

What it does not do:

    join protocol             No /v1-k3s endpoints. The certificate authorities are derived from the token (HKDF), so
                              that a node with the token makes its own certificates; what an agent learns from a server
                              lies in ConfigMap kube-public/k3s-agent-config.
    several servers           One etcd member. `server` on a server is refused.
    API load balancer         127.0.0.1:6444 forwards to the one server and learns no others.
    flannel, kube-proxy,      Left out: flannel-backend must be none, disable-network-policy and disable-kube-proxy
    network policy            true.
    cloud controller          Left out, with or without disable-cloud-controller: no ExternalIP, no provider id.
    helm controller, addons   Left out, with their resource kinds: no HelmChart, no Addon. Only CoreDNS is packaged, not
                              traefik, servicelb, local-storage or metrics-server (no aggregation layer either).
    certificates              Valid as long as the authorities (2025 to 2055), never renewed; no signer for requests.
    registries.yaml           `mirrors` with `endpoint`; neither `rewrite` nor `configs`.
    flags, environment        Only --config. No K3S_* variables.
    etcd                      Without fsync: a lab machine dies, its kernel does not.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import datetime as dt
import functools
import hashlib
import http.client
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VERSION = "v1.34.2+k3s1"
COREDNS_IMAGE = "rancher/mirrored-coredns-coredns:1.14.7"
PAUSE_IMAGE = "rancher/mirrored-pause:3.6"

PROGRAMS = Path("/usr/libexec/isthmus-lab")
CONFIG_FILE = Path("/etc/rancher/k3s/config.yaml")
REGISTRIES_FILE = Path("/etc/rancher/k3s/registries.yaml")
ADMIN_KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
DATA_DIR = Path("/var/lib/rancher/k3s")
SERVER_TLS = DATA_DIR / "server/tls"
AGENT_DIR = DATA_DIR / "agent"
CONTAINERD_STATE = Path("/run/k3s/containerd")
CONTAINERD_SOCKET = CONTAINERD_STATE / "containerd.sock"

API_PORT = 6443
FORWARDER_PORT = 6444
ETCD_URL = "https://127.0.0.1:2379"
AGENT_CONFIG_NAME = "k3s-agent-config"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CHILD_BACKOFF_SECONDS = (1.0, 2.0, 5.0)
# As short as that because kube-apiserver would wait for watchers for 15 s and more; k3s, one process, waits for nobody.
CHILD_STOP_SECONDS = 2.0
NODE_HOSTS_INTERVAL_SECONDS = 15.0
API_REQUEST_SECONDS = 10.0

VALID_FROM = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
VALID_UNTIL = dt.datetime(2055, 1, 1, tzinfo=dt.UTC)


class StandInError(Exception):
    """A message for the person who reads the journal; never holds a secret."""


# --- Settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What config.yaml says, checked; names as in `k3s server --help` with underscores."""

    role: str
    token: str = field(repr=False)
    node_name: str
    node_ip: str
    server: str = ""
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
        """Host and port to which 127.0.0.1:6444 forwards."""
        if self.role == "server":
            return "127.0.0.1", API_PORT
        url = urllib.parse.urlsplit(self.server)
        return url.hostname or "", url.port or API_PORT


PACKAGED_COMPONENTS = ("coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes")
AGENT_SETTINGS = {"token", "server", "node-name", "node-ip", "node-label", "node-taint", "kubelet-arg"}
SERVER_SETTINGS = (AGENT_SETTINGS - {"server"}) | {
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
    # What these switch is not there in any case.
    "cluster-init",
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
                merged[name] = [*_as_list(merged.get(name)), *_as_list(value)]
            else:
                merged[name] = value
    return merged


def _as_list(value: Any) -> list[Any]:
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
            items = [str(item) for item in _as_list(value)]
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
    if not _is_ipv4(node_ip):
        errors.append(f"node-ip: {node_ip or 'missing'} is not one IPv4 address")
    if role == "agent":
        url = urllib.parse.urlsplit(texts.get("server", ""))
        if url.scheme != "https" or not url.hostname:
            errors.append("server: required on an agent, as https://HOST:6443")
    else:
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
    if "cluster-dns" in texts and not _is_ipv4(texts["cluster-dns"]):
        errors.append(f"cluster-dns: {texts['cluster-dns']} is not one IPv4 address")
    packaged = ", ".join(PACKAGED_COMPONENTS)
    errors += [
        f"disable: {name} is none of {packaged}" for name in lists.get("disable", ()) if name not in PACKAGED_COMPONENTS
    ]
    mode = texts.get("write-kubeconfig-mode", "600")
    if not (mode.isdigit() and set(mode) <= set("01234567")):
        errors.append(f"write-kubeconfig-mode: {mode} is not an octal mode")
    return errors


def _is_ipv4(text: str) -> bool:
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


# --- Files and certificates -------------------------------------------------------------------------------------------


def write_file(path: Path, content: str | bytes, mode: int = 0o600) -> bool:
    """Write atomically when the bytes or the mode differ; True when they did."""
    data = content.encode() if isinstance(content, str) else content
    with contextlib.suppress(OSError):
        if path.read_bytes() == data and path.stat().st_mode & 0o777 == mode:
            return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
    temporary.replace(path)
    return True


class CertificateAuthority:
    """A certificate authority that every holder of the token derives alike: the same key and the same bytes."""

    def __init__(self, token: str, name: str) -> None:
        self.name = name
        seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"k3s-stand-in", info=name.encode()).derive(
            token.encode()
        )
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        public_key = self._key.public_key()
        self._certificate = (
            _certificate_builder(subject, subject, serial_of(public_key_bytes(public_key)))
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(self._key, None)
        )

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        key: ec.EllipticCurvePrivateKey,
        common_name: str,
        organizations: Sequence[str] = (),
        alternative_names: Sequence[str] = (),
    ) -> bytes:
        """A certificate (PEM) for a client, and for a server too when it has alternative names (addresses, host names).

        Equal input gives equal bytes: the kubeconfig of a node that starts again does not change.
        """
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if alternative_names:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        public_key = key.public_key()
        identity = [self.name, common_name, *organizations, *alternative_names]
        builder = (
            _certificate_builder(
                x509.Name(attributes),
                self._certificate.subject,
                serial_of(public_key_bytes(public_key) + "\n".join(identity).encode()),
            )
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if alternative_names:
            names: list[x509.GeneralName] = [
                x509.IPAddress(ipaddress.ip_address(name)) if _is_ipv4(name) else x509.DNSName(name)
                for name in alternative_names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, None).public_bytes(serialization.Encoding.PEM)


def _certificate_builder(subject: x509.Name, issuer: x509.Name, serial: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(serial)
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_UNTIL)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def public_key_bytes(key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
    """A public key in DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def serial_of(data: bytes) -> int:
    """A certificate's serial number: positive and at most 159 bits, as X.509 wants it."""
    return int.from_bytes(hashlib.sha256(data).digest()[:20], "big") >> 1 or 1


def ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key kept at PATH, made when it is not there."""
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    fresh = ec.generate_private_key(ec.SECP256R1())
    pem = fresh.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    write_file(path, pem)
    return fresh


@dataclass(frozen=True)
class KeyPair:
    """Paths of a certificate and its key."""

    certificate: Path
    key: Path


class Certificates:
    """The certificates of one node, written below DIRECTORY (server/tls or agent)."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._directory = directory
        self._settings = settings
        self.server_ca = CertificateAuthority(settings.token, "k3s-server-ca")
        self.client_ca = CertificateAuthority(settings.token, "k3s-client-ca")
        self.server_ca_path = directory / "server-ca.crt"
        self.client_ca_path = directory / "client-ca.crt"
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        write_file(self.server_ca_path, self.server_ca.pem, 0o644)
        write_file(self.client_ca_path, self.client_ca.pem, 0o644)

    def client(self, name: str, common_name: str, *organizations: str) -> KeyPair:
        """A client's certificate, for the API."""
        return self._pair(f"client-{name}", self.client_ca, common_name, organizations, ())

    def serving(self, name: str, common_name: str, alternative_names: Sequence[str]) -> KeyPair:
        """A server's certificate."""
        return self._pair(f"serving-{name}", self.server_ca, common_name, (), alternative_names)

    def kubelet_client(self) -> KeyPair:
        """The kubelet's for the API, and this program's own on an agent."""
        return self.client("kubelet", f"system:node:{self._settings.node_name}", "system:nodes")

    def kubelet_serving(self) -> KeyPair:
        """The kubelet's for `kubectl exec` and `logs`."""
        names = dict.fromkeys((self._settings.node_name, "localhost", "127.0.0.1", self._settings.node_ip))
        return self.serving("kubelet", self._settings.node_name, tuple(names))

    def etcd(self) -> tuple[Path, KeyPair, KeyPair]:
        """The path of etcd's authority, the server's and the API server's pair."""
        authority = CertificateAuthority(self._settings.token, "etcd-server-ca")
        path = self._directory / "etcd-server-ca.crt"
        write_file(path, authority.pem, 0o644)
        server = self._pair("etcd-server", authority, "etcd-server", (), ("localhost", "127.0.0.1"))
        return path, server, self._pair("etcd-client", authority, "etcd-client", (), ())

    def _pair(
        self,
        name: str,
        authority: CertificateAuthority,
        common_name: str,
        organizations: Sequence[str],
        alternative_names: Sequence[str],
    ) -> KeyPair:
        pair = KeyPair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        key = ensure_key(pair.key)
        write_file(pair.certificate, authority.issue(key, common_name, organizations, alternative_names), 0o644)
        return pair


def api_server_names(settings: Settings) -> tuple[str, ...]:
    """The names and addresses that the API server's certificate holds."""
    return tuple(
        dict.fromkeys(
            (
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                f"kubernetes.default.svc.{settings.cluster_domain}",
                "localhost",
                settings.node_name,
                "127.0.0.1",
                settings.node_ip,
                str(ipaddress.IPv4Network(settings.service_cidr)[1]),
                *settings.tls_san,
            )
        )
    )


def kubeconfig(server: str, authority: Path, pair: KeyPair, *, embed: bool) -> str:
    """A kubeconfig in k3s's shape; with embed the certificates are in it instead of their paths."""

    def reference(name: str, path: Path) -> dict[str, str]:
        if embed:
            return {f"{name}-data": base64.b64encode(path.read_bytes()).decode()}
        return {name: str(path)}

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "default", "cluster": {**reference("certificate-authority", authority), "server": server}}
        ],
        "users": [
            {
                "name": "default",
                "user": {
                    **reference("client-certificate", pair.certificate),
                    **reference("client-key", pair.key),
                },
            }
        ],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
        "preferences": {},
    }
    return str(yaml.safe_dump(document))


# --- What the components are told -------------------------------------------------------------------------------------


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


def api_server_arguments(
    settings: Settings,
    certificates: Certificates,
    etcd_authority: Path,
    etcd_client: KeyPair,
    service_account_key: Path,
) -> list[str]:
    """Flags of kube-apiserver; makes the certificates they name."""
    serving = certificates.serving("kube-apiserver", "kube-apiserver", api_server_names(settings))
    kubelet_client = certificates.client("kube-apiserver", "system:kube-apiserver", "system:masters")
    issuer = f"https://kubernetes.default.svc.{settings.cluster_domain}"
    return [
        f"--advertise-address={settings.node_ip}",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
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
    settings: Settings, kubeconfig_path: Path, authority: Path, service_account_key: Path
) -> list[str]:
    """Flags of kube-controller-manager."""
    return [
        f"--kubeconfig={kubeconfig_path}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={settings.cluster_cidr}",
        f"--service-cluster-ip-range={settings.service_cidr}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={service_account_key}",
        f"--root-ca-file={authority}",
        *_flags(settings.kube_controller_manager_arg),
    ]


def scheduler_arguments(settings: Settings, kubeconfig_path: Path) -> list[str]:
    """Flags of kube-scheduler."""
    return [
        f"--kubeconfig={kubeconfig_path}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
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


def containerd_config() -> str:
    """The config.toml of containerd (version 2, containerd 1.6 and 1.7).

    No CNI directories: with flannel-backend none k3s leaves containerd's own, /etc/cni/net.d and /opt/cni/bin, where
    Cilium installs itself.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    snapshotters = ("aufs", "btrfs", "devmapper", "zfs")
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in snapshotters)
    return f"""version = 2
root = "{AGENT_DIR / "containerd"}"
state = "{CONTAINERD_STATE}"
oom_score = 0
disabled_plugins = [{disabled}]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[{cri}]
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  max_concurrent_downloads = 6

[{cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
  disable_snapshot_annotations = true
  discard_unpacked_layers = false

[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[{cri}.registry]
  config_path = "{AGENT_DIR / "etc/containerd/certs.d"}"
"""


def hosts_toml(registries: Mapping[str, Any]) -> dict[str, str]:
    """The hosts.toml of each registry that registries.yaml mirrors, by directory name below certs.d.

    https://docs.k3s.io/installation/private-registry; containerd asks the endpoints in order, then the registry itself.
    """
    unknown = set(registries) - {"mirrors"}
    if unknown:
        raise StandInError(f"{REGISTRIES_FILE}: {', '.join(sorted(unknown))} is not in this stand-in, only mirrors")
    files = {}
    for host, mirror in (registries.get("mirrors") or {}).items():
        settings = mirror or {}
        if set(settings) - {"endpoint"}:
            raise StandInError(f"{REGISTRIES_FILE}: mirrors.{host}: only endpoint is in this stand-in")
        lines = []
        if host != "*":
            upstream = "registry-1.docker.io" if host == "docker.io" else host
            lines.append(f'server = "https://{upstream}"\n')
        for endpoint in _as_list(settings.get("endpoint")):
            url = urllib.parse.urlsplit(str(endpoint))
            if url.scheme not in ("http", "https") or not url.netloc or '"' in str(endpoint):
                raise StandInError(f"{REGISTRIES_FILE}: mirrors.{host}: endpoint {endpoint} is not an http(s) URL")
            lines.append(f'[host."{str(endpoint).rstrip("/")}"]')
            lines.append('  capabilities = ["pull", "resolve"]')
            if url.path.strip("/"):
                lines.append("  override_path = true")
            lines.append("")
        files["_default" if host == "*" else str(host)] = "\n".join(lines)
    return files


COREFILE = """.:53 {
    errors
    health
    ready
    kubernetes CLUSTER_DOMAIN in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
}
import /etc/coredns/custom/*.server
"""


def coredns_objects(cluster_dns: str, cluster_domain: str) -> list[dict[str, Any]]:
    """k3s's packaged CoreDNS; ConfigMap coredns-custom, mounted when it is there, belongs to the user."""
    namespace = "kube-system"
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    bootstrapping = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    probe = {"timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
    ports = (("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP"))
    container = {
        "name": "coredns",
        "image": COREDNS_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        "ports": [{"name": name, "containerPort": port, "protocol": protocol} for name, port, protocol in ports],
        "volumeMounts": [
            {"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True},
            {"name": "custom-config-volume", "mountPath": "/etc/coredns/custom", "readOnly": True},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["all"]},
            "readOnlyRootFilesystem": True,
        },
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 8080, "scheme": "HTTP"},
            "initialDelaySeconds": 60,
            "periodSeconds": 10,
            **probe,
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8181, "scheme": "HTTP"},
            "initialDelaySeconds": 0,
            "periodSeconds": 2,
            **probe,
        },
    }
    config_items = [{"key": key, "path": key} for key in ("Corefile", "NodeHosts")]
    pod = {
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        ],
        "containers": [container],
        "volumes": [
            {"name": "config-volume", "configMap": {"name": "coredns", "items": config_items}},
            {"name": "custom-config-volume", "configMap": {"name": "coredns-custom", "optional": True}},
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "coredns", "namespace": namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns", "labels": bootstrapping},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns", "labels": bootstrapping},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": namespace}],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "coredns", "namespace": namespace},
            "data": {"Corefile": COREFILE.replace("CLUSTER_DOMAIN", cluster_domain)},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "coredns", "namespace": namespace, "labels": labels},
            "spec": {
                "revisionHistoryLimit": 0,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
                "template": {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kube-dns",
                "namespace": namespace,
                "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
                "labels": {**labels, "kubernetes.io/cluster-service": "true"},
            },
            "spec": {
                "selector": {"k8s-app": "kube-dns"},
                "clusterIP": cluster_dns,
                "clusterIPs": [cluster_dns],
                "ports": [
                    {"name": name, "port": port, "targetPort": port, "protocol": protocol}
                    for name, port, protocol in ports
                ],
            },
        },
    ]


def node_hosts_object(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Key NodeHosts of ConfigMap coredns: each node's InternalIP and name, as k3s's node controller keeps it."""
    lines = sorted(
        f"{address['address']} {node['metadata']['name']}"
        for node in nodes
        for address in node.get("status", {}).get("addresses", ())
        if address["type"] == "InternalIP"
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "data": {"NodeHosts": "".join(f"{line}\n" for line in lines)},
    }


def agent_config_objects(settings: Settings) -> list[dict[str, Any]]:
    """What agents need to know about the cluster, where their own credentials may read it."""
    namespace = "kube-public"
    metadata = {"name": AGENT_CONFIG_NAME, "namespace": namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"cluster-dns": settings.cluster_dns, "cluster-domain": settings.cluster_domain},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["configmaps"],
                    "resourceNames": [AGENT_CONFIG_NAME],
                    "verbs": ["get"],
                }
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": AGENT_CONFIG_NAME},
            "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}],
        },
    ]


# --- The API, as far as the stand-in itself uses it -------------------------------------------------------------------

RESOURCES = {
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Service": "services",
}


def object_path(document: Mapping[str, Any]) -> str:
    """The API path of an object of one of the kinds in RESOURCES."""
    group = document["apiVersion"]
    metadata = document["metadata"]
    path = f"/api/{group}" if group == "v1" else f"/apis/{group}"
    if "namespace" in metadata:
        path += f"/namespaces/{metadata['namespace']}"
    return f"{path}/{RESOURCES[document['kind']]}/{urllib.parse.quote(metadata['name'])}"


class ApiError(Exception):
    """The API answered, but not with success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


class Api:
    """A blocking client of the API at a port of 127.0.0.1, with a client certificate."""

    def __init__(self, port: int, authority: Path, pair: KeyPair) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(str(pair.certificate), str(pair.key))

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """The answer's JSON (or {} when it is none); raises ApiError, OSError or HTTPException."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._context, timeout=API_REQUEST_SECONDS
        )
        with contextlib.closing(connection):
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": content_type, "Accept": "application/json"})
            response = connection.getresponse()
            text = response.read()
        if response.status >= 300:
            message = text.decode(errors="replace")
            with contextlib.suppress(ValueError, AttributeError):
                message = json.loads(text).get("message", message)
            raise ApiError(response.status, message[:300])
        try:
            answer = json.loads(text)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def apply(self, document: Mapping[str, Any], manager: str = "k3s") -> None:
        """Server-side apply: the same object again changes nothing, an edit by hand is taken back."""
        path = f"{object_path(document)}?fieldManager={manager}&force=true"
        self.request("PATCH", path, document, "application/apply-patch+yaml")


async def until(what: str, attempt: Callable[[], Any], interval_seconds: float = 0.3) -> Any:
    """Call ATTEMPT in a thread until it raises no more; no deadline, as in k3s, but a line every 10 s."""
    said = time.monotonic()
    while True:
        try:
            return await asyncio.to_thread(attempt)
        except (ApiError, OSError, http.client.HTTPException) as error:
            if time.monotonic() - said > 10:
                said = time.monotonic()
                log(f"waiting for {what}: {error}")
        await asyncio.sleep(interval_seconds)


# --- Processes --------------------------------------------------------------------------------------------------------


def log(message: str) -> None:
    """One line for the journal."""
    print(f"k3s stand-in: {message}", file=sys.stderr, flush=True)


def notify(state: str) -> None:
    """sd_notify(3); nothing without a service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection, contextlib.suppress(OSError):
        connection.connect("\0" + address[1:] if address.startswith("@") else address)
        connection.sendall(state.encode())


def journal_stream(identifier: str) -> socket.socket | None:
    """A stream into the journal under a name of its own, so that `journalctl -t kubelet` shows the kubelet.

    It speaks systemd-journald's stdout protocol; None where there is no journal.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect("/run/systemd/journal/stdout")
        # Identifier, unit (the journal finds it), priority, no level prefix, no forwarding to syslog, kmsg, console.
        connection.sendall(f"{identifier}\n\n6\n0\n0\n0\n0\n".encode())
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        connection.close()
        return None
    return connection


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: k3s's components end with k3s, also when it is killed. containerd's shims are not children."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Child:
    """A component that is kept running."""

    name: str
    argv: Sequence[str]
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Starts children, starts those again that end, ends all of them in the reverse order of their start."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(self, name: str, argv: Sequence[str]) -> Child:
        """Start a component and keep it running."""
        child = Child(name, argv)
        child.task = asyncio.get_running_loop().create_task(self._run(child))
        self._children.append(child)
        return child

    async def stop(self) -> None:
        """End all components."""
        for child in reversed(self._children):
            child.stopping.set()
            process = child.process
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), CHILD_STOP_SECONDS)
                except TimeoutError:
                    log(f"{child.name} is still busy, killing it")
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
            if child.task is not None:
                child.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await child.task

    async def _run(self, child: Child) -> None:
        failures = 0
        while not child.stopping.is_set():
            started = time.monotonic()
            code = await self._run_once(child)
            if child.stopping.is_set():
                return
            failures = 0 if time.monotonic() - started > 60 else failures + 1
            delay = CHILD_BACKOFF_SECONDS[min(failures, len(CHILD_BACKOFF_SECONDS)) - 1 if failures else 0]
            log(f"{child.name} ended with {code}, starting it again in {delay:g} s")
            await asyncio.sleep(delay)

    async def _run_once(self, child: Child) -> int:
        stream = journal_stream(child.name)
        output = stream.fileno() if stream is not None else sys.stderr.fileno()
        try:
            child.process = await asyncio.create_subprocess_exec(
                *child.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        finally:
            if stream is not None:
                stream.close()
        return await child.process.wait()


async def serve_forwarder(target: tuple[str, int], port: int = FORWARDER_PORT) -> asyncio.Server:
    """Listen on 127.0.0.1:PORT and pass each connection on to TARGET."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(*target), 10)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", port)


# --- A node -----------------------------------------------------------------------------------------------------------


class Node:
    """What servers and agents have in common: containerd, kubelet and the forwarder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.supervisor = Supervisor()

    def start_containerd(self) -> None:
        """Write containerd's files and start it."""
        certificates_directory = AGENT_DIR / "etc/containerd/certs.d"
        registries = yaml.safe_load(REGISTRIES_FILE.read_text()) if REGISTRIES_FILE.exists() else {}
        files = hosts_toml(registries or {})
        certificates_directory.mkdir(parents=True, exist_ok=True)
        for stale in certificates_directory.iterdir():
            if stale.name not in files:
                (stale / "hosts.toml").unlink(missing_ok=True)
                stale.rmdir()
        for host, text in files.items():
            write_file(certificates_directory / host / "hosts.toml", text, 0o644)
        config = AGENT_DIR / "etc/containerd/config.toml"
        write_file(config, containerd_config(), 0o644)
        self.supervisor.start("containerd", ("containerd", "--config", str(config), "--log-level", "warn"))

    def start_kubelet(self, certificates: Certificates, server: str, cluster_dns: str, cluster_domain: str) -> None:
        """Write the kubelet's files and start it."""
        (AGENT_DIR / "pod-manifests").mkdir(parents=True, exist_ok=True)
        config = AGENT_DIR / "etc/kubelet.yaml"
        document = kubelet_config(
            self.settings, cluster_dns, cluster_domain, certificates.client_ca_path, certificates.kubelet_serving()
        )
        write_file(config, yaml.safe_dump(document), 0o644)
        kubeconfig_path = AGENT_DIR / "kubelet.kubeconfig"
        pair = certificates.kubelet_client()
        write_file(kubeconfig_path, kubeconfig(server, certificates.server_ca_path, pair, embed=False))
        arguments = kubelet_arguments(self.settings, config, kubeconfig_path)
        self.supervisor.start("kubelet", (str(PROGRAMS / "kubelet"), *arguments))

    async def wait_for_node(self, api: Api) -> None:
        """Until the API knows this node."""
        notify("STATUS=Waiting for the node to register")
        path = f"/api/v1/nodes/{urllib.parse.quote(self.settings.node_name)}"
        await until(f"node {self.settings.node_name} to register", functools.partial(api.request, "GET", path))

    def ready(self, started: float) -> None:
        """Tell the service manager."""
        log(f"{self.settings.role} {self.settings.node_name} is up after {time.monotonic() - started:.1f} s")
        notify("READY=1\nSTATUS=Up")


async def run_server(node: Node) -> None:
    """A server: control plane, kubelet, packaged manifests."""
    started = time.monotonic()
    settings = node.settings
    certificates = Certificates(settings, SERVER_TLS)
    service_account_key = SERVER_TLS / "service.key"
    ensure_key(service_account_key)
    admin = certificates.client("admin", "system:admin", "system:masters")
    server = f"https://127.0.0.1:{API_PORT}"

    node.start_containerd()
    etcd_authority, etcd_server, etcd_client = certificates.etcd()
    data_dir = DATA_DIR / "server/db/etcd"
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o700)
    arguments = etcd_arguments(data_dir, etcd_authority, etcd_server, settings.etcd_arg)
    node.supervisor.start("etcd", (str(PROGRAMS / "etcd"), *arguments))
    arguments = api_server_arguments(settings, certificates, etcd_authority, etcd_client, service_account_key)
    node.supervisor.start("kube-apiserver", (str(PROGRAMS / "kube-apiserver"), *arguments))
    write_file(
        ADMIN_KUBECONFIG,
        kubeconfig(server, certificates.server_ca_path, admin, embed=True),
        settings.write_kubeconfig_mode,
    )

    notify("STATUS=Waiting for the API")
    api = Api(API_PORT, certificates.server_ca_path, admin)
    await until("the API", functools.partial(api.request, "GET", "/readyz"))
    log(f"the API is ready after {time.monotonic() - started:.1f} s")

    credentials = DATA_DIR / "server/cred"
    components = {"controller": "system:kube-controller-manager", "scheduler": "system:kube-scheduler"}
    paths = {}
    for name, user in components.items():
        pair = certificates.client(name, user)
        paths[name] = credentials / f"{name}.kubeconfig"
        write_file(paths[name], kubeconfig(server, certificates.server_ca_path, pair, embed=False))
    arguments = controller_manager_arguments(
        settings, paths["controller"], certificates.server_ca_path, service_account_key
    )
    node.supervisor.start("kube-controller-manager", (str(PROGRAMS / "kube-controller-manager"), *arguments))
    arguments = scheduler_arguments(settings, paths["scheduler"])
    node.supervisor.start("kube-scheduler", (str(PROGRAMS / "kube-scheduler"), *arguments))
    node.start_kubelet(certificates, server, settings.cluster_dns, settings.cluster_domain)

    objects = agent_config_objects(settings)
    if "coredns" not in settings.disable:
        objects += coredns_objects(settings.cluster_dns, settings.cluster_domain)
    for document in objects:
        await until(
            f"{document['kind']} {document['metadata']['name']} to be applied", functools.partial(api.apply, document)
        )
    await node.wait_for_node(api)
    # A kubelet may not give itself this label (NodeRestriction).
    labels = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "true"}}}
    await until(
        "the node to be labelled",
        functools.partial(
            api.request, "PATCH", f"/api/v1/nodes/{settings.node_name}", labels, "application/merge-patch+json"
        ),
    )
    node.ready(started)
    if "coredns" not in settings.disable:
        await keep_node_hosts(api)


async def keep_node_hosts(api: Api) -> None:
    """Keep NodeHosts as the nodes are."""
    last: dict[str, Any] = {}
    while True:
        try:
            nodes = await asyncio.to_thread(api.request, "GET", "/api/v1/nodes?resourceVersion=0")
            document = node_hosts_object(nodes.get("items") or ())
            if document != last:
                await asyncio.to_thread(api.apply, document, "k3s-node-hosts")
                last = document
        except (ApiError, OSError, http.client.HTTPException) as error:
            log(f"NodeHosts not updated: {error}")
        await asyncio.sleep(NODE_HOSTS_INTERVAL_SECONDS)


async def run_agent(node: Node) -> None:
    """An agent: the kubelet of a cluster whose server it asks for the rest."""
    started = time.monotonic()
    certificates = Certificates(node.settings, AGENT_DIR)
    server = f"https://127.0.0.1:{FORWARDER_PORT}"
    node.start_containerd()
    api = Api(FORWARDER_PORT, certificates.server_ca_path, certificates.kubelet_client())
    cached = AGENT_DIR / "etc/cluster.json"
    if cached.exists():
        # A machine that boots while the server is down still runs its pods' kubelet.
        cluster = json.loads(cached.read_text())
    else:
        notify(f"STATUS=Waiting for {node.settings.server}")
        path = f"/api/v1/namespaces/kube-public/configmaps/{AGENT_CONFIG_NAME}"
        answer = await until(
            f"{node.settings.server} (a certificate or 401 error here: another token?)",
            functools.partial(api.request, "GET", path),
            interval_seconds=1,
        )
        cluster = answer["data"]
        write_file(cached, json.dumps(cluster), 0o644)
    node.start_kubelet(certificates, server, cluster["cluster-dns"], cluster["cluster-domain"])
    await node.wait_for_node(api)
    node.ready(started)


async def run_node(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    node = Node(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    forwarder = await serve_forwarder(settings.api_server)
    role: Callable[[Node], Coroutine[Any, Any, None]] = run_server if settings.role == "server" else run_agent
    work = asyncio.create_task(role(node))
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if work in done:
            work.result()
            await stopped
    finally:
        notify("STOPPING=1")
        work.cancel()
        forwarder.close()
        await node.supervisor.stop()


def missing_programs(role: str) -> list[str]:
    """What the machine lacks, as paths or names."""
    names = ["kubelet"]
    if role == "server":
        names += ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"]
    missing = [str(PROGRAMS / name) for name in names if not os.access(PROGRAMS / name, os.X_OK)]
    distribution = ("containerd", "containerd-shim-runc-v2", "runc")
    return missing + [name for name in distribution if shutil.which(name, path=PATH) is None]


def replace_process(program: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """Become another program."""
    env = {**os.environ, "PATH": os.environ.get("PATH", PATH), **(environment or {})}
    try:
        os.execvpe(program, [program, *arguments], env)
    except FileNotFoundError:
        raise StandInError(f"{program} is not on this machine") from None


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    called = Path(argv[0]).name
    arguments = list(argv[1:]) if called not in ("kubectl", "ctr") else [called, *argv[1:]]
    command = arguments[0] if arguments else ""
    if command in ("--version", "-v"):
        print(f"k3s version {VERSION} (stand-in)")
        return 0
    if command == "kubectl":
        environment = {} if os.environ.get("KUBECONFIG") else {"KUBECONFIG": str(ADMIN_KUBECONFIG)}
        replace_process(str(PROGRAMS / "kubectl"), arguments[1:], environment)
    if command == "ctr":
        replace_process("ctr", ["--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io", *arguments[1:]])
    if command not in ("server", "agent"):
        raise StandInError(f"unknown command {command or '(none)'}: server, agent, kubectl, ctr or --version")
    options = arguments[1:]
    config_file = CONFIG_FILE
    if len(options) == 2 and options[0] in ("--config", "-c"):
        config_file = Path(options[1])
    elif len(options) == 1 and options[0].startswith("--config="):
        config_file = Path(options[0].partition("=")[2])
    elif options:
        raise StandInError(f"unknown flag {options[0]}: this stand-in takes --config FILE only")
    settings = parse_settings(command, read_config(config_file), socket.gethostname(), default_address())
    missing = missing_programs(command)
    if missing:
        raise StandInError(f"missing on this machine: {', '.join(missing)}")
    asyncio.run(run_node(settings))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except StandInError as problem:
        print(f'level=fatal msg="{problem}"', file=sys.stderr)
        sys.exit(1)
