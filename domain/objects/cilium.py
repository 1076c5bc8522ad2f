"""What is ours of Cilium's agents: a mark on the chart's DaemonSet, which changes with the release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from domain.cilium_values import NAMESPACE

AGENTS: Final = "cilium"
"""The DaemonSet of the chart."""
AGENTS_SELECTOR: Final = "k8s-app=cilium"
RELEASE_ANNOTATION: Final = "isthmus.dev/release-sha256"


def agents_patch(version: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Version and values of the release, so that another release is another patch."""
    checksum = hashlib.sha256(json.dumps([version, values], sort_keys=True).encode()).hexdigest()
    metadata = {"name": AGENTS, "namespace": NAMESPACE, "annotations": {RELEASE_ANNOTATION: checksum}}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata}
