"""What is ours of the cluster's own CoreDNS: keys of the ConfigMap ``coredns-custom``, whose other keys are the user's,
and, of k3s's Deployment ``coredns``, how it is rolled out: a changed Corefile is tried by a new pod while the old one
still answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from domain.corefile import CUSTOM_CONFIG_MAP
from domain.foreign_keys import NAMESPACE

CHECKSUM_ANNOTATION: Final = "isthmus.dev/corefile-sha256"
DEPLOYMENT: Final = "coredns"


def checksum(data: Mapping[str, str]) -> str:
    """A text that changes with any of the files."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def zones_patch(zones: Mapping[str, object]) -> dict[str, Any]:
    """Our keys. What they hold may be known later."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CUSTOM_CONFIG_MAP, "namespace": NAMESPACE},
        "data": dict(zones),
    }


def rollout_patch(mark: object) -> dict[str, Any]:
    """Other keys are other pods, one after the other. ``mark`` is their :func:`checksum`, which may be known later."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"annotations": {CHECKSUM_ANNOTATION: mark}}},
        },
    }
