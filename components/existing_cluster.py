"""A cluster that somebody else runs, given by its kubeconfig. It owns the router's label on its Nodes and nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.child_names import formerly
from components.cluster import Cluster
from components.kubernetes_object import KubernetesObject
from domain.nodes import Node
from domain.objects.node_labels import labels_patch


def existing_cluster(kubeconfig: pulumi.Input[str], context: str) -> Cluster:
    """The cluster behind one context of a kubeconfig, which is secret."""
    return Cluster(pulumi.Output.secret(kubeconfig), context, [])


@dataclass(frozen=True)
class NodeLabelsArgs:
    """``nodes``: those with labels of ours get them. They are known: each is a resource called after it."""

    nodes: Sequence[Node]


class NodeLabels(pulumi.ComponentResource):
    """Labels on Nodes that exist; k3s sets them itself on machines that this program installs."""

    ready: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: NodeLabelsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:existing_cluster:NodeLabels", name, {}, opts)
        self.ready = [
            KubernetesObject(
                f"{name}-{node.name}",
                labels_patch(node),
                patch=True,
                opts=pulumi.ResourceOptions(parent=self, aliases=formerly(f"{name}-{node.name}", node.name)),
            )
            for node in args.nodes
            if node.labels
        ]
        self.register_outputs({})
