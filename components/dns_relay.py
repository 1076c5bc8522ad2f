"""The DNS relay: CoreDNS in the network of each router node, between the cluster's DNS and the peers' relays; and the
fronts, which stand between that DNS and several relays, one on every node.

It owns the workloads; the Corefiles come from ``domain``. They exist only when a peer is linked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

import pulumi

from components import waits
from components.child_names import formerly
from components.dns import CHECKSUM_ANNOTATION, checksum
from components.kubernetes_object import SKIP_AWAIT, KubernetesObject
from components.route_wait import ROUTER_NODES, TOLERATIONS, container
from components.waiting import Waiting
from domain.corefile import FRONT_HEALTH_PORT, FRONT_READY_PORT, HEALTH_ADDRESS, HOST_IP_VARIABLE, READY_ADDRESS
from domain.foreign_keys import NAMESPACE
from domain.names import RELAY_PORT

NAME: Final = "isthmus-dns-relay"
LABELS: Final = {"app.kubernetes.io/name": NAME}
FRONT: Final = "isthmus-dns-front"
FRONT_LABELS: Final = {"app.kubernetes.io/name": FRONT}
INTERFACE_DEADLINE_SECONDS: Final = 120
"""Of one try; the kubelet goes on trying."""


@dataclass(frozen=True)
class DnsRelayArgs:
    """``service_ip`` is fixed by the address plan, because the cluster's Corefile names it. ``front`` is the Corefile
    of the fronts, None where one relay is asked by itself.
    """

    corefile: str
    front: str | None
    image: str
    agent_image: str
    service_ip: IPv4Address
    waiting: Waiting
    after: Sequence[pulumi.Input[pulumi.Resource]]


class DnsRelay(pulumi.ComponentResource):
    """Passes queries on, in either direction. ``ready`` is done when it answers."""

    ready: pulumi.Input[pulumi.Resource]

    def __init__(self, name: str, args: DnsRelayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:dns_relay:DnsRelay", name, {}, opts)
        metadata = {"name": NAME, "namespace": NAMESPACE, "labels": LABELS}
        not_awaited = {**metadata, "annotations": SKIP_AWAIT}
        data = {"Corefile": args.corefile}
        own_name = f"isthmus-{name}"
        aliases = formerly(own_name, NAME)
        config = KubernetesObject(
            own_name,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after), aliases=aliases),
        )
        spec = daemon_set_spec(args.image, args.agent_image, checksum(data))
        relay = KubernetesObject(
            own_name,
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": not_awaited, "spec": spec},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config], aliases=aliases),
        )
        self.ready = args.waiting.until(lambda client, _: waits.relays(client), after=relay)
        if args.front is not None:
            self.ready = self._fronts(f"isthmus-{name}-front", args, args.front)
        spec = service_spec(args.service_ip, fronts=args.front is not None)
        KubernetesObject(
            own_name,
            {"apiVersion": "v1", "kind": "Service", "metadata": not_awaited, "spec": spec},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.ready], aliases=aliases),
        )
        self.register_outputs({})

    def _fronts(self, name: str, args: DnsRelayArgs, corefile: str) -> pulumi.Input[pulumi.Resource]:
        metadata = {"name": FRONT, "namespace": NAMESPACE, "labels": FRONT_LABELS}
        data = {"Corefile": corefile}
        aliases = formerly(name, FRONT)
        config = KubernetesObject(
            name,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after), aliases=aliases),
        )
        spec = front_spec(args.image, checksum(data))
        front = KubernetesObject(
            name,
            {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {**metadata, "annotations": SKIP_AWAIT},
                "spec": spec,
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config], aliases=aliases),
        )
        return args.waiting.until(lambda client, _: waits.fronts(client), after=front, beside=[self.ready])


def service_spec(service_ip: IPv4Address, *, fronts: bool = False) -> dict[str, Any]:
    """Port 53 of a fixed address, to the relay's own port; or to that of the front on the node of whoever asks, which
    is gone only together with its node.
    """
    return {
        **({"internalTrafficPolicy": "Local"} if fronts else {}),
        "type": "ClusterIP",
        # A kubelet that is away makes its pods not ready, and they answer all the same.
        "publishNotReadyAddresses": True,
        "clusterIP": str(service_ip),
        "selector": FRONT_LABELS if fronts else LABELS,
        "ports": [
            {"name": f"dns-{protocol.lower()}", "protocol": protocol, "port": 53, "targetPort": RELAY_PORT}
            for protocol in ("UDP", "TCP")
        ],
    }


def daemon_set_spec(image: str, agent_image: str, corefile_checksum: str) -> dict[str, Any]:
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
                "initContainers": [container("wait-for-interface", agent_image, [], INTERFACE_DEADLINE_SECONDS)],
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


def front_spec(image: str, corefile_checksum: str) -> dict[str, Any]:
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
