"""The pods of NetBird's routers, and what their agents say, by the API: for whoever works with one cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lab.errors import LabError
from lab.kubernetes import Cluster
from lab.status.results import Path

NETBIRD_NAMESPACE = "netbird"
ROUTER_CONTAINER = "netbird"


def is_router(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is a router's: NetBird's agent in the network of its node."""
    return any(container["name"] == ROUTER_CONTAINER for container in pod["spec"]["containers"]) and bool(
        pod["spec"].get("hostNetwork")
    )


def router_pods(cluster: Cluster) -> list[dict[str, Any]]:
    """The pods of the cluster's NetBird routers, ready or not."""
    return [pod for pod in cluster.get("pods", namespace=NETBIRD_NAMESPACE) if is_router(pod)]


def agent_status(cluster: Cluster, pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """`netbird status --json` of a router's pod; empty when the agent does not answer."""
    try:
        text = cluster.execute(
            NETBIRD_NAMESPACE, pod["metadata"]["name"], ROUTER_CONTAINER, ["netbird", "status", "--json"]
        )
        found: Mapping[str, Any] = json.loads(text)
        return found
    except (LabError, ValueError):
        return {}


def peer_path(agent: Mapping[str, Any], address: str) -> Path:
    """How an agent reaches the peer with that address, from its own status."""
    for peer in agent.get("peers", {}).get("details") or []:
        if str(peer.get("netbirdIp", "")).partition("/")[0] == address:
            if str(peer.get("status", "")).lower() != "connected":
                return "down"
            return "direct" if str(peer.get("connectionType", "")).upper() == "P2P" else "relayed"
    return "down"
