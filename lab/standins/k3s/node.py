"""A node from its start to its end: what comes up in which order, as server and as agent."""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
import signal
import time
import urllib.parse
from collections.abc import Callable, Coroutine
from typing import Any

import yaml

from lab.standins.k3s.api import Api, ApiError, until
from lab.standins.k3s.arguments import (
    api_server_arguments,
    controller_manager_arguments,
    etcd_arguments,
    kubelet_arguments,
    kubelet_config,
    scheduler_arguments,
)
from lab.standins.k3s.certificates import Certificates, ensure_key
from lab.standins.k3s.containerd import containerd_config, hosts_toml
from lab.standins.k3s.files import write_file
from lab.standins.k3s.forwarder import serve_forwarder
from lab.standins.k3s.journal import log, notify
from lab.standins.k3s.kubeconfig import kubeconfig
from lab.standins.k3s.layout import (
    ADMIN_KUBECONFIG,
    AGENT_DIR,
    API_PORT,
    DATA_DIR,
    FORWARDER_PORT,
    PROGRAMS,
    REGISTRIES_FILE,
    SERVER_TLS,
)
from lab.standins.k3s.manifests import AGENT_CONFIG_NAME, agent_config_objects, coredns_objects, node_hosts_object
from lab.standins.k3s.settings import Settings
from lab.standins.k3s.supervisor import Supervisor

NODE_HOSTS_INTERVAL_SECONDS = 15.0


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
