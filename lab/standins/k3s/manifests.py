"""The objects that a server applies: k3s's packaged CoreDNS with its NodeHosts, and what agents ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.standins.k3s.layout import COREDNS_IMAGE
from lab.standins.k3s.settings import Settings

AGENT_CONFIG_NAME = "k3s-agent-config"


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
