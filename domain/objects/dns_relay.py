"""The DNS relay's objects and those of the fronts; their Corefiles come from ``domain/corefile.py``.

Images, Corefiles, the :func:`mark` of these, and the address may be known later.
"""

from __future__ import annotations

from typing import Any, Final

from domain.corefile import FRONT_HEALTH_PORT, FRONT_READY_PORT, HEALTH_ADDRESS, HOST_IP_VARIABLE, READY_ADDRESS
from domain.names import RELAY_PORT
from domain.objects.cluster_dns import CHECKSUM_ANNOTATION, checksum
from domain.objects.router_pods import NAMESPACE, ROUTER_NODES, TOLERATIONS, waiting_container

NAME: Final = "isthmus-dns-relay"
LABELS: Final = {"app.kubernetes.io/name": NAME}
FRONT: Final = "isthmus-dns-front"
FRONT_LABELS: Final = {"app.kubernetes.io/name": FRONT}
INTERFACE_DEADLINE_SECONDS: Final = 120
"""Of one try; the kubelet goes on trying."""


def corefile_map(name: str, corefile: object) -> dict[str, Any]:
    """The Corefile of the relay or of the fronts, by which ``name`` says."""
    return _object("v1", "ConfigMap", name, data={"Corefile": corefile})


def mark(corefile: str) -> str:
    """Of a pod: another Corefile is another pod."""
    return checksum({"Corefile": corefile})


def relay(image: object, agent_image: object, script: str, mark: object) -> dict[str, Any]:
    """The relays. ``script`` is ``components/files/wait-for-route.sh``, which runs in the agent's image."""
    spec = relay_spec(image, agent_image, script, mark)
    return _object("apps/v1", "DaemonSet", NAME, spec=spec)


def front(image: object, mark: object) -> dict[str, Any]:
    """The fronts."""
    return _object("apps/v1", "DaemonSet", FRONT, spec=front_spec(image, mark))


def service(service_ip: object, *, fronts: bool) -> dict[str, Any]:
    """What the cluster's DNS asks."""
    return _object("v1", "Service", NAME, spec=service_spec(service_ip, fronts=fronts))


def _object(version: str, kind: str, name: str, **content: Any) -> dict[str, Any]:
    labels = FRONT_LABELS if name == FRONT else LABELS
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def service_spec(service_ip: object, *, fronts: bool = False) -> dict[str, Any]:
    """Port 53 of a fixed address, to the relay's own port; or to that of the front on the node of whoever asks, which
    is gone only together with its node.
    """
    return {
        **({"internalTrafficPolicy": "Local"} if fronts else {}),
        "type": "ClusterIP",
        # A kubelet that is away makes its pods not ready, and they answer all the same.
        "publishNotReadyAddresses": True,
        "clusterIP": service_ip,
        "selector": FRONT_LABELS if fronts else LABELS,
        "ports": [
            {"name": f"dns-{protocol.lower()}", "protocol": protocol, "port": 53, "targetPort": RELAY_PORT}
            for protocol in ("UDP", "TCP")
        ],
    }


def relay_spec(image: object, agent_image: object, script: str, corefile_checksum: object) -> dict[str, Any]:
    """One relay a router node. A changed Corefile restarts it, so that what runs is what was applied."""
    return {
        "selector": {"matchLabels": LABELS},
        # Two of them on one node would share the port without a word.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "template": {
            "metadata": {"labels": LABELS, "annotations": {CHECKSUM_ANNOTATION: corefile_checksum}},
            "spec": {
                "hostNetwork": True,
                # Its upstreams are addresses, and the cluster's DNS asks it: it must not ask back.
                "dnsPolicy": "Default",
                "nodeSelector": ROUTER_NODES,
                "tolerations": TOLERATIONS,
                "automountServiceAccountToken": False,
                "priorityClassName": "system-cluster-critical",
                "initContainers": [
                    waiting_container("wait-for-interface", agent_image, script, [], INTERFACE_DEADLINE_SECONDS)
                ],
                "containers": [
                    {
                        "name": "coredns",
                        "image": image,
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "env": [{"name": HOST_IP_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
                        "ports": [
                            {"name": f"dns-{protocol.lower()}", "containerPort": RELAY_PORT, "protocol": protocol}
                            for protocol in ("UDP", "TCP")
                        ],
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
                        "livenessProbe": {**_probe(HEALTH_ADDRESS, "/health"), "failureThreshold": 6},
                        "readinessProbe": {**_probe(READY_ADDRESS, "/ready"), "periodSeconds": 2},
                        "resources": {
                            "requests": {"cpu": "20m", "memory": "32Mi"},
                            "limits": {"memory": "128Mi"},
                        },
                    }
                ],
                "volumes": [{"name": "config", "configMap": {"name": NAME}}],
            },
        },
    }


def front_spec(image: object, corefile_checksum: object) -> dict[str, Any]:
    """One front a node, wherever the cluster's CoreDNS may be. The old one goes when the new one answers."""
    ports = [
        {"name": f"dns-{protocol.lower()}", "containerPort": RELAY_PORT, "protocol": protocol}
        for protocol in ("UDP", "TCP")
    ]
    return {
        "selector": {"matchLabels": FRONT_LABELS},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": FRONT_LABELS, "annotations": {CHECKSUM_ANNOTATION: corefile_checksum}},
            "spec": {
                # Its upstreams are addresses, and the cluster's DNS asks it: it must not ask back.
                "dnsPolicy": "Default",
                "tolerations": TOLERATIONS,
                "automountServiceAccountToken": False,
                "priorityClassName": "system-cluster-critical",
                "containers": [
                    {
                        "name": "coredns",
                        "image": image,
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "ports": ports,
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
                        "livenessProbe": {
                            "httpGet": {"port": FRONT_HEALTH_PORT, "path": "/health"},
                            "timeoutSeconds": 5,
                            "failureThreshold": 6,
                        },
                        "readinessProbe": {
                            "httpGet": {"port": FRONT_READY_PORT, "path": "/ready"},
                            "timeoutSeconds": 5,
                            "periodSeconds": 2,
                        },
                        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "128Mi"}},
                    }
                ],
                "volumes": [{"name": "config", "configMap": {"name": FRONT}}],
            },
        },
    }


def _probe(address: str, path: str) -> dict[str, Any]:
    host, port = address.split(":")
    return {"httpGet": {"host": host, "port": int(port), "path": path}, "timeoutSeconds": 5}
