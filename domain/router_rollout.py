"""How the router's Deployment is rolled out: the old pod is gone before the new one starts. Owns the two pieces of
that.

Two agents in one network namespace delete each other's wt0. ``strategy: Recreate`` would say so, but server-side
apply can't set it on a Deployment that another manager made without a strategy: the defaulted ``rollingUpdate``
stays, and the API server refuses both together (tried with 1.34.2; a null does not help). So the rollout takes the
old pod away first, and an anti-affinity of the router with itself keeps the new one pending until the old one has
really ended. The same two let several routers be rolled one after the other, each on a node of its own.
"""

from __future__ import annotations

from typing import Any, Final

from domain.netbird import NAMESPACE, router_deployment

ROUTER_POD_LABEL: Final = "isthmus.dev/router-of"
"""On the router's pod; the value is the cluster's name."""


def alone_on_its_node(override: dict[str, Any], cluster: str) -> dict[str, Any]:
    """A pod template override with the label and the anti-affinity added; the given one stays as it is."""
    labels = {ROUTER_POD_LABEL: cluster}
    itself = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [itself]}}
    return {
        **override,
        "metadata": {**override.get("metadata", {}), "labels": labels},
        "spec": {**override["spec"], "affinity": affinity},
    }


def old_pod_first(cluster: str) -> dict[str, Any]:
    """The patch of the Deployment, which the custom resource has no field for. It restarts nothing by itself."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": router_deployment(cluster), "namespace": NAMESPACE},
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}},
    }
