"""The probe pods: one on the router's node and one on another node of each cluster, behind a headless service, and one
in the host's network of the other node; and services with a ClusterIP in front of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lab.commands import wait_until
from lab.errors import CommandFailed, LabError
from lab.kubernetes import Cluster, is_ready
from lab.project import Tools
from lab.status import NETBIRD_NAMESPACE, RouterStatus, agent_status, router_pods
from lab.topology import PROBE_IMAGE, VERIFY_NAMESPACE, Site

Placement = Literal["router", "other"]
PLACEMENTS: Final[tuple[Placement, ...]] = ("router", "other")

Backend = Literal["router", "other", "host"]
BACKENDS: Final[tuple[Backend, ...]] = ("router", "other", "host")
"""Where the only pod of a service is: at a placement, or in the host's network of the other node."""

SERVICE: Final = "probe"
HOST_POD: Final = "probe-host"
HOST_PORT: Final = 18080
"""Of the pod in the host's network: no other program's."""
SERVICE_PORT: Final = 80
"""Of the services with a ClusterIP; the pods have another one."""
EMPTY: Final = "nobody"
"""The service without endpoints."""
STICKY: Final = "sticky"
"""The service with sessionAffinity, in front of the pods at both placements."""
AFFINITY_SECONDS: Final = 5
"""How long a client stays with its pod: as long as a request may take, shorter than the time between two runs.

Cilium 1.19 keeps what ties a service's number to a backend's when a pod goes that other services have as well
(bpf_reconciler.go, ``orphanBackends``), and gives both numbers out anew. Within Kubernetes' three hours a client of a
former run with the same address may be led to whichever pod has that backend's number now, the service's or not.
"""
UDP_SERVER: Final = """
import os, socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", int(os.environ["PORT"])))
while True:
    server.sendto(socket.gethostname().encode(), server.recvfrom(512)[1])
"""
PORT: Final = 8080
READY_DEADLINE_SECONDS: Final = 90.0
GONE_DEADLINE_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class ProbePod:
    """A probe pod that is ready."""

    name: str
    placement: Placement
    node: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Probes:
    """The probe pods of one cluster, and the router that its packets leave by."""

    site: Site
    cluster: Cluster
    router: RouterStatus
    pods: tuple[ProbePod, ...]
    services: Mapping[str, str]
    """The ClusterIPs by the services' names."""

    def pod(self, placement: Placement) -> ProbePod:
        """The pod at that placement."""
        return next(pod for pod in self.pods if pod.placement == placement)

    @property
    def service_name(self) -> str:
        """The headless service's name as the other clusters ask for it."""
        return f"{SERVICE}.{VERIFY_NAMESPACE}.svc.{self.site.ranges.dns_zone}"

    def service_host(self, service: str) -> str:
        """A service's name as the other clusters ask for it."""
        return f"{service}.{VERIFY_NAMESPACE}.svc.{self.site.ranges.dns_zone}"

    def backend_says(self, backend: Backend) -> str:
        """What the pod behind a service calls itself: in the host's network it has the node's name."""
        return self.pod("other").node if backend == "host" else pod_name(backend)

    def pod_host(self, pod: ProbePod) -> str:
        """A single pod's name as the other clusters ask for it."""
        return f"{pod.name}.{self.service_name}"


def pod_name(placement: Placement) -> str:
    """The name of the pod at a placement; the same in every cluster."""
    return f"probe-{placement}"


def cluster_ip_service(backend: Backend) -> str:
    """The name of the service with a ClusterIP whose only pod is there."""
    return f"on-{backend}"


def manifests(nodes: Mapping[Placement, str]) -> list[dict[str, Any]]:
    """Namespace, headless service, a pod for each placement, pinned to its node, and one in the host's network; then
    the services with a ClusterIP.
    """
    labels = {"app": SERVICE}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": VERIFY_NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE, "namespace": VERIFY_NAMESPACE},
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"name": "http", "port": PORT}]},
        },
    ]
    for placement, node in nodes.items():
        name = pod_name(placement)
        # Hostname and subdomain give the pod a name of its own below the service's.
        named = {"hostname": name, "subdomain": SERVICE}
        objects.append(probe_pod(name, {**labels, BACKEND_LABEL: placement}, node, PORT, named))
    objects.append(probe_pod(HOST_POD, {BACKEND_LABEL: "host"}, nodes["other"], HOST_PORT, {"hostNetwork": True}))
    for backend in BACKENDS:
        port = HOST_PORT if backend == "host" else PORT
        objects.append(_service(cluster_ip_service(backend), {BACKEND_LABEL: backend}, port))
    objects.append(_service(EMPTY, {BACKEND_LABEL: "nowhere"}, PORT))
    remembered = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
    objects.append(_service(STICKY, labels, PORT, sessionAffinity="ClientIP", sessionAffinityConfig=remembered))
    return objects


BACKEND_LABEL: Final = "backend"


def probe_pod(name: str, labels: Mapping[str, str], node: str, port: int, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A pod that answers on ``port`` and measures, kept to its node. Without a service's labels it is behind none."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": VERIFY_NAMESPACE, "labels": labels},
        "spec": {
            **spec,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "probe",
                    "image": PROBE_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "env": [{"name": "PORT", "value": str(port)}],
                    "ports": [{"containerPort": port}],
                    "readinessProbe": {
                        "httpGet": {"path": "/", "port": port},
                        "periodSeconds": 1,
                        "failureThreshold": 30,
                    },
                },
                {
                    "name": "udp",
                    "image": PROBE_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", UDP_SERVER],
                    "env": [{"name": "PORT", "value": str(port)}],
                },
            ],
        },
    }


def _service(name: str, selector: Mapping[str, str], port: int, **more: Any) -> dict[str, Any]:
    ports = [
        {"name": protocol.lower(), "protocol": protocol, "port": SERVICE_PORT, "targetPort": port}
        for protocol in ("TCP", "UDP")
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": VERIFY_NAMESPACE},
        "spec": {"type": "ClusterIP", "selector": selector, "ports": ports, **more},
    }


def start(site: Site, tools: Tools) -> Probes:
    """Makes the pods and waits until they are ready; what an earlier run has left is removed first."""
    cluster = Cluster(name=site.name, tools=tools)
    router, routers = _router(cluster)
    remove(cluster)
    nodes = _nodes(cluster, router.node, routers)
    cluster.apply(manifests(nodes))
    pods = wait_until(
        lambda: _ready_pods(cluster, nodes),
        what=f"The probe pods of {site.name} are ready",
        deadline_seconds=READY_DEADLINE_SECONDS,
        state=lambda: _describe(cluster),
        every_seconds=0.5,
    )
    services = {
        service["metadata"]["name"]: str(service["spec"]["clusterIP"])
        for service in cluster.get("services", namespace=VERIFY_NAMESPACE)
    }
    return Probes(site=site, cluster=cluster, router=router, pods=pods, services=services)


def remove(cluster: Cluster, *, wait: bool = True) -> None:
    """Removes the pods, and the namespace with all that is in it.

    Without ``wait`` the cluster takes the empty namespace away by itself, which takes it 5 seconds and more.
    """
    deadline = f"--timeout={GONE_DEADLINE_SECONDS:.0f}s"
    cluster.kubectl(
        *("delete", "pods", "--all", f"--namespace={VERIFY_NAMESPACE}", "--ignore-not-found", "--wait=true", deadline),
        deadline_seconds=GONE_DEADLINE_SECONDS + 10,
    )
    cluster.kubectl(
        *("delete", "namespace", VERIFY_NAMESPACE, "--ignore-not-found", f"--wait={str(wait).lower()}", deadline),
        deadline_seconds=GONE_DEADLINE_SECONDS + 10,
    )


def _router(cluster: Cluster) -> tuple[RouterStatus, set[str]]:
    """The cluster's router that carries, and the nodes of all; LabError when there is none that runs."""
    pods = [pod for pod in router_pods(cluster) if "deletionTimestamp" not in pod["metadata"]]
    chosen = acting(
        [(pod, agent_status(cluster, pod)) for pod in pods], gateways(cluster) if len(pods) > 1 else frozenset()
    )
    if chosen is None:
        raise LabError(
            f"{cluster.name} has no router pod that runs, so there is no link to verify: kubectl --context "
            f"{cluster.name} -n {NETBIRD_NAMESPACE} get pods -o wide"
        )
    pod, agent = chosen
    router = RouterStatus(
        node=pod["spec"]["nodeName"],
        node_ip=str(pod["status"].get("hostIP", "")),
        netbird_ip=str(agent.get("netbirdIp", "")).partition("/")[0],
        connected=bool(agent.get("management", {}).get("connected")),
    )
    return router, {str(pod["spec"].get("nodeName", "")) for pod in pods}


def acting(
    routers: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], gateways: frozenset[str] = frozenset()
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """The router that the checks look at, of pods with what their agents say; None when none of them runs.

    One that NetBird's management knows goes first, ready or not: its packets pass as soon as its tunnels stand, and the
    kubelet asks for readiness seconds later; of several the one whose node's address is among ``gateways``, to which
    Cilium leads the pods. Without one it is a pod that is ready or has an agent that answers, so that the checks say
    what is wrong with it.
    """
    running = [(pod, agent) for pod, agent in routers if agent or is_ready(pod)]
    return max(
        running,
        key=lambda router: (
            bool(router[1].get("management", {}).get("connected")),
            router[0]["status"].get("hostIP") in gateways,
            is_ready(router[0]),
        ),
        default=None,
    )


def _nodes(cluster: Cluster, router_node: str, routers: set[str]) -> dict[Placement, str]:
    """A node for each placement; the other one is no router's where there is such a node."""
    others = [
        node["metadata"]["name"]
        for node in cluster.get("nodes")
        if node["metadata"]["name"] != router_node and is_ready(node)
    ]
    if not others:
        raise LabError(f"{cluster.name} has no ready node besides the router {router_node}; the checks need one.")
    return {"router": router_node, "other": min(others, key=lambda name: (name in routers, name))}


def _ready_pods(cluster: Cluster, nodes: Mapping[Placement, str]) -> tuple[ProbePod, ...] | None:
    found = {pod["metadata"]["name"]: pod for pod in cluster.get("pods", namespace=VERIFY_NAMESPACE)}
    pods = []
    for placement, node in nodes.items():
        pod = found.get(pod_name(placement))
        if pod is None or not is_ready(pod):
            return None
        pods.append(ProbePod(name=pod_name(placement), placement=placement, node=node, address=pod["status"]["podIP"]))
    host = found.get(HOST_POD)
    return tuple(pods) if host is not None and is_ready(host) else None


def _describe(cluster: Cluster) -> str:
    """What keeps the pods from being ready."""
    said = []
    for pod in cluster.get("pods", namespace=VERIFY_NAMESPACE):
        waiting: Sequence[Mapping[str, Any]] = pod.get("status", {}).get("containerStatuses", [])
        reasons = [
            str(container["state"]["waiting"].get("reason"))
            for container in waiting
            if "waiting" in container.get("state", {})
        ]
        said.append(f"{pod['metadata']['name']} {pod['status'].get('phase')} {' '.join(reasons)}".strip())
    return "; ".join(said) or "no pods"


def gateways(cluster: Cluster) -> frozenset[str]:
    """The node addresses to which Cilium's egress maps lead the pods of the cluster."""
    return frozenset(str(entry.get("GatewayIP", "")) for entries in egress_maps(cluster).values() for entry in entries)


def egress_maps(cluster: Cluster) -> dict[str, list[dict[str, Any]]]:
    """What each node's Cilium agent has in its egress map, by node; an agent that gives none is left out."""
    maps: dict[str, list[dict[str, Any]]] = {}
    for pod in cluster.get("pods", namespace="kube-system", selector="k8s-app=cilium"):
        try:
            text = cluster.execute(
                "kube-system",
                pod["metadata"]["name"],
                "cilium-agent",
                ["cilium-dbg", "bpf", "egress", "list", "--output=json"],
            )
        except CommandFailed:
            continue
        maps[pod["spec"]["nodeName"]] = json.loads(text or "[]") or []
    return maps
