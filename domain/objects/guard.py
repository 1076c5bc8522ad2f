"""The guard's DaemonSet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.guard import BOOT_DIRECTORY, HOST_ETC
from domain.objects.router_pods import NAMESPACE

NAME: Final = "isthmus-guard"
LABELS: Final = {"app.kubernetes.io/name": NAME}
CONTAINER: Final = "guard"


def environment_of(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """What :func:`domain.guard.guard_environment` says, as a pod has it."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def daemon_set(image: object, script: str, environment: object) -> dict[str, Any]:
    """One guard a node, also where nothing else may run. ``script`` is ``components/files/guard.sh``, ``environment``
    as of :func:`environment_of`; it and the image may be known later.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
        "spec": _spec(image, script, environment),
    }


def _spec(image: object, script: str, environment: object) -> dict[str, Any]:
    """One guard a node, also where nothing else may run. Changed ranges are another pod template."""
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
                        "image": image,
                        "command": ["/bin/sh", "-c", script],
                        "env": environment,
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
