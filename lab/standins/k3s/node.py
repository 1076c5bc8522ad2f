"""A node from its start to its end: what comes up in which order, as server and as agent."""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.standins.k3s import etcd
from lab.standins.k3s.api import Api, until
from lab.standins.k3s.arguments import (
    api_server_arguments,
    controller_manager_arguments,
    etcd_arguments,
    etcd_member_arguments,
    kubelet_arguments,
    kubelet_config,
    scheduler_arguments,
)
from lab.standins.k3s.certificates import Certificates, EtcdFiles, KeyPair, api_server_names, ensure_key
from lab.standins.k3s.containerd import containerd_config, hosts_toml
from lab.standins.k3s.etcd import Etcd, EtcdError, EtcdMember
from lab.standins.k3s.files import write_file
from lab.standins.k3s.forwarder import Balancer
from lab.standins.k3s.front import Front
from lab.standins.k3s.journal import log, notify
from lab.standins.k3s.kubeconfig import kubeconfig
from lab.standins.k3s.layout import (
    ADMIN_KUBECONFIG,
    AGENT_DIR,
    API_PORT,
    BALANCER_FILE,
    DATA_DIR,
    ETCD_DIR,
    FORWARDER_PORT,
    INTERNAL_API_PORT,
    PROGRAMS,
    REGISTRIES_FILE,
    SERVER_TLS,
)
from lab.standins.k3s.manifests import AGENT_CONFIG_NAME, agent_config_objects, coredns_objects
from lab.standins.k3s.membership import Nodes, keep_servers, mark_server
from lab.standins.k3s.passwords import node_password, prove
from lab.standins.k3s.settings import Settings
from lab.standins.k3s.supervisor import Supervisor


class Node:
    """What servers and agents have in common: containerd, kubelet and the forwarder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.supervisor = Supervisor()
        agent = settings.role == "agent"
        self.balancer = Balancer(settings.api_server, BALANCER_FILE if agent else None)
        self.front: Front | None = None

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


@dataclass(frozen=True)
class Store:
    """The etcd of a server: how it is started, who asks it, and where kube-apiserver listens. ``member`` is None for a
    server that is the only one.
    """

    arguments: Sequence[str]
    authority: Path
    client: KeyPair
    api_port: int
    member: Etcd | None = None


async def prepare_store(settings: Settings, certificates: Certificates, service_account_key: Path) -> Store:
    """Whether this server begins a cluster, joins one or goes on, as k3s decides it: by its data first."""
    ETCD_DIR.mkdir(parents=True, exist_ok=True)
    ETCD_DIR.chmod(0o700)
    if etcd.in_a_cluster() or (not etcd.has_data() and (settings.cluster_init or settings.server)):
        files = certificates.etcd_member()
        if etcd.has_data():
            member = etcd.with_data(settings.node_ip)
        elif settings.server:
            member = await join(settings, files, service_account_key)
        else:
            log("no data and cluster-init: a new cluster")
            member = etcd.begun(settings.node_name, settings.node_ip)
        ensure_key(service_account_key)
        arguments = etcd_member_arguments(ETCD_DIR, files, member, settings.etcd_arg)
        own = Etcd("127.0.0.1", files.authority, files.client)
        return Store(arguments, files.authority, files.client, INTERNAL_API_PORT, own)
    ensure_key(service_account_key)
    authority, server, client = certificates.etcd()
    return Store(etcd_arguments(ETCD_DIR, authority, server, settings.etcd_arg), authority, client, API_PORT)


async def join(settings: Settings, files: EtcdFiles, service_account_key: Path) -> EtcdMember:
    """Becomes a member by the server of the settings, with what its servers share."""
    other = Etcd(settings.joined[0], files.authority, files.client)
    notify(f"STATUS=Joining {settings.server}")

    def attempt() -> EtcdMember:
        shared = other.get(etcd.BOOTSTRAP_KEY)
        if shared is None:
            raise EtcdError("it does not serve yet, or is no server of several")
        write_file(service_account_key, shared)
        return etcd.joined(other, settings.node_name, settings.node_ip)

    member: EtcdMember = await until(f"{settings.server} to take this server in", attempt, interval_seconds=5)
    log(f"joining the etcd of {settings.server}: {member.initial_cluster}")
    return member


async def run_server(node: Node) -> None:
    """A server: control plane, kubelet, packaged manifests."""
    started = time.monotonic()
    settings = node.settings
    certificates = Certificates(settings, SERVER_TLS)
    service_account_key = SERVER_TLS / "service.key"
    password = node_password()
    admin = certificates.client("admin", "system:admin", "system:masters")

    node.start_containerd()
    store = await prepare_store(settings, certificates, service_account_key)
    several = store.member is not None
    server = f"https://127.0.0.1:{store.api_port}"
    if several:
        serving = certificates.serving("kube-apiserver", "kube-apiserver", api_server_names(settings))
        node.front = Front(certificates.server_ca_path, serving)
        node.front.listen()
    node.supervisor.start("etcd", (str(PROGRAMS / "etcd"), *store.arguments))
    arguments = api_server_arguments(
        settings, certificates, store.authority, store.client, service_account_key, store.api_port
    )
    node.supervisor.start("kube-apiserver", (str(PROGRAMS / "kube-apiserver"), *arguments))
    write_file(
        ADMIN_KUBECONFIG,
        kubeconfig(f"https://127.0.0.1:{API_PORT}", certificates.server_ca_path, admin, embed=True),
        settings.write_kubeconfig_mode,
    )

    notify("STATUS=Waiting for the API")
    api = Api(store.api_port, certificates.server_ca_path, admin)
    await until("the API", functools.partial(api.request, "GET", "/readyz"))
    log(f"the API is ready after {time.monotonic() - started:.1f} s")
    if store.member is not None:
        # As k3s, which serves what others need to join once its API serves.
        await until("etcd", functools.partial(etcd.share, store.member, service_account_key.read_bytes()))
    await until("this node's password", functools.partial(prove, api, settings.node_name, password), 5)

    credentials = DATA_DIR / "server/cred"
    components = {"controller": "system:kube-controller-manager", "scheduler": "system:kube-scheduler"}
    paths = {}
    for name, user in components.items():
        pair = certificates.client(name, user)
        paths[name] = credentials / f"{name}.kubeconfig"
        write_file(paths[name], kubeconfig(server, certificates.server_ca_path, pair, embed=False))
    arguments = controller_manager_arguments(
        settings, paths["controller"], certificates.server_ca_path, service_account_key, several=several
    )
    node.supervisor.start("kube-controller-manager", (str(PROGRAMS / "kube-controller-manager"), *arguments))
    arguments = scheduler_arguments(settings, paths["scheduler"], several=several)
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
    await mark_server(api, settings, several=several)
    node.ready(started)
    await Nodes(api, store.member, coredns="coredns" not in settings.disable).keep()


async def run_agent(node: Node) -> None:
    """An agent: the kubelet of a cluster whose server it asks for the rest."""
    started = time.monotonic()
    certificates = Certificates(node.settings, AGENT_DIR)
    server = f"https://127.0.0.1:{FORWARDER_PORT}"
    password = node_password()
    node.start_containerd()
    supervisor = Api(FORWARDER_PORT, certificates.server_ca_path, certificates.supervisor())
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
        await until("this node's password", functools.partial(prove, supervisor, node.settings.node_name, password), 5)
        write_file(cached, json.dumps(cluster), 0o644)
    node.start_kubelet(certificates, server, cluster["cluster-dns"], cluster["cluster-domain"])
    await node.wait_for_node(api)
    node.ready(started)
    await keep_servers(supervisor, node.balancer)


async def run_node(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    node = Node(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await node.balancer.serve()
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
        node.balancer.close()
        if node.front is not None:
            node.front.close()
        await node.supervisor.stop()
