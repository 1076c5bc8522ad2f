"""What is ours of a Node that exists: its labels."""

from __future__ import annotations

from typing import Any

from domain.nodes import Node


def labels_patch(node: Node) -> dict[str, Any]:
    """Our labels of this node."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": node.labels}}
