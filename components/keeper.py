"""The keeper on every router of a linked cluster: it watches the links, and moves them where this router fails.

It owns the keeper's objects: workload, program, settings, key and rights. What the keeper is told comes from
``domain/keeper.py``; what it does is the package ``keeper/``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.child_names import formerly
from components.keeper_key import KeeperKey
from components.kubernetes_object import SKIP_AWAIT, KubernetesObject
from components.route_wait import ROUTER_NODES, TOLERATIONS
from domain.keeper import config_text
from domain.names import KEEPER_STATUS_PORT
from domain.overlay import WIREGUARD_SOCKETS
from domain.settings.installed import KeeperSettings

NAME: Final = "isthmus-keeper"
PROGRAM: Final = f"{NAME}-program"
KEY: Final = f"{NAME}-key"
NAMESPACE: Final = "kube-system"
LABELS: Final = {"app.kubernetes.io/name": NAME}
CONTAINER: Final = "keeper"
PROGRAM_ANNOTATION: Final = "isthmus.dev/keeper-sha256"
"""Of the pods: another program is another keeper. Its settings it reads anew by itself."""
CONFIG_ANNOTATION: Final = "isthmus.dev/keeper-config-sha256"
"""Likewise of what the keeper is told, put on the pods that run (:func:`components.waits.keepers`)."""
CONFIG_FILE: Final = "keeper.json"
PROGRAM_FILE: Final = "keeper.pyz"
KEY_FILE: Final = "key"
_RBAC: Final = "rbac.authorization.k8s.io/v1"


@dataclass(frozen=True)
class KeeperArgs:
    """``config`` is the content of keeper.json, ``program`` the archive, ``policies`` the names of the egress policies
    that the keeper steers. ``api`` is host and port where a node reaches the API; None where Kubernetes says it itself.

    ``agents`` is the namespace of NetBird's agents, ``after`` has to be there first, that namespace as well.
    """

    settings: KeeperSettings
    config: Mapping[str, Any]
    program: bytes
    policies: Sequence[str]
    api: tuple[str, int] | None
    agents: str
    after: Sequence[pulumi.Input[pulumi.Resource]]


class Keeper(pulumi.ComponentResource):
    """``there``: the DaemonSet. Whether it works on each router is for the waits to see. ``told``: a mark of what the
    keepers are told.
    """

    there: pulumi.Resource
    told: str

    def __init__(self, name: str, args: KeeperArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:keeper:Keeper", name, {}, opts)

        def named(earlier: str, after: Sequence[pulumi.Input[pulumi.Resource]]) -> tuple[str, pulumi.ResourceOptions]:
            own_name = earlier.replace(NAME, f"isthmus-{name}", 1)
            return own_name, pulumi.ResourceOptions(
                parent=self, depends_on=list(after), aliases=formerly(own_name, earlier)
            )

        def own(earlier: str, manifest: dict[str, Any]) -> KubernetesObject:
            own_name, own_opts = named(earlier, args.after)
            return KubernetesObject(own_name, manifest, opts=own_opts)

        config = config_text(args.config)
        self.told = hashlib.sha256(config.encode()).hexdigest()
        key = KeeperKey(*named(KEY, []))
        needed = [
            own(NAME, _object("v1", "ConfigMap", NAME, data={CONFIG_FILE: config})),
            own(
                PROGRAM,
                _object("v1", "ConfigMap", PROGRAM, binaryData={PROGRAM_FILE: base64.b64encode(args.program).decode()}),
            ),
            own(KEY, _object("v1", "Secret", KEY, stringData={KEY_FILE: pulumi.Output.secret(key.key)})),
            *(own(_unique(one), one) for one in rights(args.policies, args.agents)),
        ]
        own_name, own_opts = named(NAME, needed)
        workload = _object("apps/v1", "DaemonSet", NAME, annotations=SKIP_AWAIT, spec=daemon_set_spec(args))
        self.there = KubernetesObject(own_name, workload, opts=own_opts)
        self.register_outputs({})


def _object(
    version: str,
    kind: str,
    name: str,
    *,
    namespace: str | None = NAMESPACE,
    annotations: Mapping[str, str] | None = None,
    **content: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": LABELS}
    if namespace is not None:
        metadata["namespace"] = namespace
    if annotations is not None:
        metadata["annotations"] = annotations
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _unique(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['metadata']['name']}-{manifest['kind'].lower()}"


def rights(policies: Sequence[str], agents: str) -> list[dict[str, Any]]:
    """What a keeper may do: steer the policies of the links, end an agent, and say so in Events."""
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


def daemon_set_spec(args: KeeperArgs) -> dict[str, Any]:
    """One keeper a router, in the network of its node, with the rights to change that and no others."""
    program = hashlib.sha256(args.program).hexdigest()
    return {
        "selector": {"matchLabels": LABELS},
        # One after the other: the others watch in the meantime.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "template": {
            "metadata": {"labels": LABELS, "annotations": {PROGRAM_ANNOTATION: program}},
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
                        "image": args.settings.image,
                        "command": [
                            "python3",
                            f"/opt/isthmus/{PROGRAM_FILE}",
                            "--config",
                            f"/etc/isthmus-keeper/{CONFIG_FILE}",
                        ],
                        "env": _environment(args.api),
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


def _environment(api: tuple[str, int] | None) -> list[dict[str, Any]]:
    from_pod = {
        "NODE_NAME": "spec.nodeName",
        "NODE_IP": "status.hostIP",
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
    }
    given = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if api is not None:
        given |= {"KUBERNETES_SERVICE_HOST": api[0], "KUBERNETES_SERVICE_PORT": str(api[1])}
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in from_pod.items()),
        *({"name": name, "value": value} for name, value in given.items()),
    ]


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"host": "127.0.0.1", "port": KEEPER_STATUS_PORT, "path": path}, "timeoutSeconds": 5}
