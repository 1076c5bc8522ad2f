"""Keeps pods from the provider's metadata address, where the server's user data (k3s token, host key) can be read. Owns
that one object. Pods with hostNetwork are not covered: Cilium's policies don't apply to them.
"""

from __future__ import annotations

from typing import Any

from domain.names import METADATA_ADDRESS


def metadata_policy() -> dict[str, Any]:
    """A ``CiliumClusterwideNetworkPolicy`` that denies all pods the address and nothing else: without
    ``enableDefaultDeny: false`` it would switch every pod to default deny.
    """
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "isthmus-deny-metadata"},
        "spec": {
            "description": "User data of the server holds secrets.",
            "endpointSelector": {},
            "enableDefaultDeny": {"egress": False, "ingress": False},
            "egressDeny": [{"toCIDR": [f"{METADATA_ADDRESS}/32"]}],
        },
    }
