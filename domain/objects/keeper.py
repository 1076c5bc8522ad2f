"""The keeper's objects: workload, program, settings, key and rights. What the keeper is told comes from
``domain/keeper.py``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.names import KEEPER_STATUS_PORT
from domain.objects.router_pods import NAMESPACE, ROUTER_NODES, TOLERATIONS
from domain.overlay import WIREGUARD_SOCKETS

NAME: Final = "isthmus-keeper"
PROGRAM: Final = f"{NAME}-program"
KEY: Final = f"{NAME}-key"
LABELS: Final = {"app.kubernetes.io/name": NAME}
CONTAINER: Final = "keeper"
PROGRAM_ANNOTATION: Final = "isthmus.dev/keeper-sha256"
"""Of the pods: another program is another keeper. Its settings it reads anew by itself."""
CONFIG_ANNOTATION: Final = "isthmus.dev/keeper-config-sha256"
"""Likewise of what the keeper is told, put on the pods that run by whoever waits for them."""
CONFIG_FILE: Final = "keeper.json"
PROGRAM_FILE: Final = "keeper.pyz"
KEY_FILE: Final = "key"
_RBAC: Final = "rbac.authorization.k8s.io/v1"


def settings_map(text: object) -> dict[str, Any]:
    """What the keeper is told, as :func:`domain.keeper.config_text` says it, which may be known later."""
    return _object("v1", "ConfigMap", NAME, data={CONFIG_FILE: text})


def program_map(program: bytes) -> dict[str, Any]:
    """The archive that it runs."""
    return _object("v1", "ConfigMap", PROGRAM, binaryData={PROGRAM_FILE: base64.b64encode(program).decode()})


def key_secret(key: object) -> dict[str, Any]:
    """The key by which siblings know each other, which may be known later."""
    return _object("v1", "Secret", KEY, stringData={KEY_FILE: key})


def daemon_set(image: object, program: bytes, api: tuple[object, object] | None) -> dict[str, Any]:
    """``api`` is host and port, as texts, where a node reaches the API; None where Kubernetes says it itself. They and
    the image may be known later.
    """
    return _object("apps/v1", "DaemonSet", NAME, spec=_spec(image, program, api))


def _object(
    version: str,
    kind: str,
    name: str,
    *,
    namespace: object = NAMESPACE,
    **content: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": LABELS}
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def resource_name(manifest: Mapping[str, Any]) -> str:
    """The object among those of one name."""
    return f"{manifest['metadata']['name']}-{manifest['kind'].lower()}"


def rights(policies: Sequence[object], agents: object) -> list[dict[str, Any]]:
    """What a keeper may do: steer the policies of the links, end an agent in the namespace ``agents``, and say so in
    Events. Names of policies and namespace may be known later.
    """
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    steered = {"apiGroups": ["cilium.io"], "resources": ["ciliumegressgatewaypolicies"]}
    everywhere = [
        {**steered, "verbs": ["get", "list", "watch"]},
        # Without a name among them the rule would be for all of them.
        *([{**steered, "resourceNames": list(policies), "verbs": ["patch"]}] if policies else []),
        # A policy names a node by a label, which need not be the Node's name.
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]
    at_agents = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "delete"]}]
    return [
        _object("v1", "ServiceAccount", NAME),
        _object(_RBAC, "ClusterRole", NAME, namespace=None, rules=everywhere),
        _object(_RBAC, "ClusterRoleBinding", NAME, namespace=None, subjects=[account], roleRef=_role("ClusterRole")),
        _object(_RBAC, "Role", NAME, namespace=agents, rules=at_agents),
        _object(_RBAC, "RoleBinding", NAME, namespace=agents, subjects=[account], roleRef=_role("Role")),
    ]


def _role(kind: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME}


def _spec(image: object, program: bytes, api: tuple[object, object] | None) -> dict[str, Any]:
    """One keeper a router, in the network of its node, with the rights to change that and no others."""
    checksum = hashlib.sha256(program).hexdigest()
    return {
        "selector": {"matchLabels": LABELS},
        # One after the other: the others watch in the meantime.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "template": {
            "metadata": {"labels": LABELS, "annotations": {PROGRAM_ANNOTATION: checksum}},
            "spec": {
                "serviceAccountName": NAME,
                "hostNetwork": True,
                # It asks for no names.
                "dnsPolicy": "Default",
                "nodeSelector": ROUTER_NODES,
                "tolerations": TOLERATIONS,
                "priorityClassName": "system-node-critical",
                "terminationGracePeriodSeconds": 5,
                "containers": [
                    {
                        "name": CONTAINER,
                        "image": image,
                        "command": [
                            "python3",
                            f"/opt/isthmus/{PROGRAM_FILE}",
                            "--config",
                            f"/etc/isthmus-keeper/{CONFIG_FILE}",
                        ],
                        "env": _environment(api),
                        "securityContext": {
                            "runAsUser": 0,
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
                        },
                        "volumeMounts": [
                            {"name": "config", "mountPath": "/etc/isthmus-keeper", "readOnly": True},
                            {"name": "key", "mountPath": "/etc/isthmus-keeper-key", "readOnly": True},
                            {"name": "program", "mountPath": "/opt/isthmus", "readOnly": True},
                            {"name": "wireguard", "mountPath": WIREGUARD_SOCKETS},
                            # The container's own are read-only.
                            {"name": "sysctls", "mountPath": "/host/proc/sys/net"},
                        ],
                        "livenessProbe": {**_probe("/healthz"), "periodSeconds": 10, "failureThreshold": 6},
                        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 2},
                        "resources": {"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
                    }
                ],
                "volumes": [
                    {"name": "config", "configMap": {"name": NAME}},
                    {"name": "key", "secret": {"secretName": KEY, "defaultMode": 0o400}},
                    {"name": "program", "configMap": {"name": PROGRAM}},
                    {"name": "wireguard", "hostPath": {"path": WIREGUARD_SOCKETS, "type": "DirectoryOrCreate"}},
                    {"name": "sysctls", "hostPath": {"path": "/proc/sys/net", "type": "Directory"}},
                ],
            },
        },
    }


def _environment(api: tuple[object, object] | None) -> list[dict[str, Any]]:
    from_pod = {
        "NODE_NAME": "spec.nodeName",
        "NODE_IP": "status.hostIP",
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
    }
    given: dict[str, object] = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if api is not None:
        given |= {"KUBERNETES_SERVICE_HOST": api[0], "KUBERNETES_SERVICE_PORT": api[1]}
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in from_pod.items()),
        *({"name": name, "value": value} for name, value in given.items()),
    ]


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"host": "127.0.0.1", "port": KEEPER_STATUS_PORT, "path": path}, "timeoutSeconds": 5}
