"""The guard on every node of a linked cluster: packets for a peer leave by the tunnel or are refused (``guard.sh``).

One for all links. It is there before the first egress policy, and what it lays on a node outlasts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import IPv4Network
from typing import Any, Final

import pulumi

from components.child_names import formerly
from components.kubernetes_object import SKIP_AWAIT, KubernetesObject
from domain.guard import BOOT_DIRECTORY, HOST_ETC, guard_environment

NAME: Final = "isthmus-guard"
NAMESPACE: Final = "kube-system"
LABELS: Final = {"app.kubernetes.io/name": NAME}
CONTAINER: Final = "guard"


@dataclass(frozen=True)
class GuardArgs:
    """``ranges`` of the peers; ``image`` has iproute2 and iptables, which that of NetBird's agent has. ``keeper_port``
    is None without keepers.
    """

    ranges: Sequence[IPv4Network]
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    image: str
    after: Sequence[pulumi.Input[pulumi.Resource]]
    keeper_port: int | None = None


class Guard(pulumi.ComponentResource):
    """``there``: the DaemonSet. Whether it works on each node is for the waits to see."""

    there: pulumi.Resource

    def __init__(self, name: str, args: GuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:guard:Guard", name, {}, opts)
        own_name = f"isthmus-{name}"
        self.there = KubernetesObject(
            own_name,
            {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS, "annotations": SKIP_AWAIT},
                "spec": daemon_set_spec(args),
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after), aliases=formerly(own_name, NAME)),
        )
        self.register_outputs({})


def daemon_set_spec(args: GuardArgs) -> dict[str, Any]:
    """One guard a node, also where nothing else may run. Changed ranges are another pod template."""
    environment = guard_environment(args.ranges, args.pod_cidr, args.service_cidr, args.keeper_port)
    script = (files("components") / "files" / "guard.sh").read_text(encoding="utf-8")
    return {
        "selector": {"matchLabels": LABELS},
        # All at once: between the old and the new one a node keeps what was laid.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "hostNetwork": True,
                "dnsPolicy": "Default",
                "tolerations": [{"operator": "Exists"}],
                "automountServiceAccountToken": False,
                "priorityClassName": "system-node-critical",
                # The script has nothing to end.
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": CONTAINER,
                        "image": args.image,
                        "command": ["/bin/sh", "-c", script],
                        "env": [{"name": name, "value": value} for name, value in environment.items()],
                        # Namespaces, their settings below /proc/sys, and the node's packet filter.
                        "securityContext": {"privileged": True},
                        "volumeMounts": [
                            # A namespace that is made here has to be one of the node, and to stay.
                            {"name": "netns", "mountPath": "/run/netns", "mountPropagation": "Bidirectional"},
                            {"name": "bpf", "mountPath": "/sys/fs/bpf", "mountPropagation": "HostToContainer"},
                            {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
                            {"name": "at-boot", "mountPath": BOOT_DIRECTORY},
                            {"name": "etc", "mountPath": HOST_ETC},
                        ],
                        "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
                    }
                ],
                "volumes": [
                    {"name": "netns", "hostPath": {"path": "/run/netns", "type": "DirectoryOrCreate"}},
                    {"name": "bpf", "hostPath": {"path": "/sys/fs/bpf", "type": "Directory"}},
                    {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
                    {"name": "at-boot", "hostPath": {"path": BOOT_DIRECTORY, "type": "DirectoryOrCreate"}},
                    # Not the folder of systemd's units: a node without one could not start the guard.
                    {"name": "etc", "hostPath": {"path": "/etc", "type": "Directory"}},
                ],
            },
        },
    }
