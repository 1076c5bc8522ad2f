"""A probe pod on every node of a cluster: only its network counts, whatever asks and answers is put into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.commands import wait_until
from lab.kubernetes import Cluster, is_ready
from lab.topology import PROBE_IMAGE

NAMESPACE: Final = "isthmus-failover"
READY_DEADLINE_SECONDS: Final = 120.0
GONE_DEADLINE_SECONDS: Final = 90.0


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A probe pod that is ready."""

    cluster: str
    node: str
    address: str


def manifests(nodes: Sequence[str]) -> list[dict[str, Any]]:
    """The namespace, and a pod for each node, which stays there whatever becomes of the node."""
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *map(_manifest, nodes)]


def _manifest(node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"probe-{node}", "namespace": NAMESPACE},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "probe",
                    "image": PROBE_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    # Ready means that it answers: without it a measurement could begin before it listens.
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                }
            ],
        },
    }


def start(cluster: Cluster) -> None:
    """Makes a pod on every node; what an earlier run has left is removed first."""
    remove(cluster)
    cluster.apply(manifests([node["metadata"]["name"] for node in cluster.get("nodes")]))
    ready(cluster)


def ready(cluster: Cluster) -> dict[str, Pod]:
    """Waits until every pod is ready, also after its node was away, and returns them by node."""

    def found() -> dict[str, Pod] | None:
        pods = cluster.get("pods", namespace=NAMESPACE)
        if not pods or not all(map(is_ready, pods)):
            return None
        return {probe.node: probe for probe in (_pod(cluster, pod) for pod in pods)}

    return wait_until(
        found,
        what=f"the probe pods of {cluster.name} are ready",
        deadline_seconds=READY_DEADLINE_SECONDS,
        state=lambda: ", ".join(
            f"{pod['metadata']['name']} {pod['status'].get('phase')}"
            for pod in cluster.get("pods", namespace=NAMESPACE)
        ),
        every_seconds=1.0,
    )


def remove(cluster: Cluster) -> None:
    """Removes the namespace with all that is in it."""
    cluster.kubectl(
        *("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--timeout={GONE_DEADLINE_SECONDS:.0f}s"),
        deadline_seconds=GONE_DEADLINE_SECONDS + 10,
    )


def _pod(cluster: Cluster, found: Mapping[str, Any]) -> Pod:
    return Pod(cluster=cluster.name, node=found["spec"]["nodeName"], address=found["status"]["podIP"])
