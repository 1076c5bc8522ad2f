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


def release_mark(version: str, values: Mapping[str, Any]) -> str:
    """Version and values of a release, so that another release is another mark."""
    return hashlib.sha256(json.dumps([version, values], sort_keys=True).encode()).hexdigest()


def agents_patch(mark: object) -> dict[str, Any]:
    """``mark`` as of :func:`release_mark`; it may be known later."""
    metadata = {"name": AGENTS, "namespace": NAMESPACE, "annotations": {RELEASE_ANNOTATION: mark}}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata}
