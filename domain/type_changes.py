"""A server at Hetzner gets another type, for which it is switched off: when the next of its group may follow.

It owns the rules. Who asks is ``components/type_changes.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.generation import is_back, is_ready, names_are
from domain.router_rollout import ROUTER_POD_LABEL

Starts = Mapping[str, frozenset[str]]
"""{what has a pod on a node: marks of its containers as they were started}, of what was ready there."""
_AGENT: Final = "NetBird's agent"


def has_another_type(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """From the inputs of a server, as the engine has them."""
    return before.get("serverType") != after.get("serverType")


def starts(pods: Mapping[str, Any]) -> Starts:
    """From the API's list of the pods of a node: DaemonSets and NetBird's agents. All other pods may go elsewhere
    while the node is off.
    """
    found: dict[str, frozenset[str]] = {}
    for pod in pods.get("items") or []:
        if (owner := _owner(pod)) is not None and is_ready(pod):
            found[owner] = found.get(owner, frozenset()) | _marks(pod)
    return found


def why_not_again(node: Mapping[str, Any] | None, before: Starts, now: Starts) -> str:
    """What a node lacks that was switched off: it is back, and what was ready there ``before`` was started since and is
    ready ``now``. A Node is ready for a while after its machine was switched off, so its word alone says nothing.
    Empty where it lacks nothing.
    """
    back, state = is_back(node)
    if not back:
        return state
    missing = sorted(owner for owner, marks in before.items() if not now.get(owner, frozenset()) - marks)
    return f"{names_are(missing)} not ready there again" if missing else ""


def why_no_majority(listed: Mapping[str, Any], others: Sequence[str], asked: Mapping[str, str]) -> str:
    """Why etcd may not bear to lose a server now, from the API's list of Nodes: one of the others is not ready, or has
    no vote yet, or says itself that it is not. ``asked`` are {address: why not}, of those that are known from before,
    so that there may be one more that has left, or one less that has come. Empty where all are there.
    """
    nodes = {item["metadata"]["name"]: item for item in listed.get("items") or []}
    lacking = [f"{name}: {state}" for name in others for back, state in [is_back(nodes.get(name))] if not back]
    serve = [address for address, reason in asked.items() if not reason]
    if not lacking and len(serve) < min(len(others), len(asked)):
        lacking = [f"the server at {address}: {reason}" for address, reason in asked.items() if reason]
    return "; ".join(lacking)


def _owner(pod: Mapping[str, Any]) -> str | None:
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        return None
    if ROUTER_POD_LABEL in (metadata.get("labels") or {}):
        return _AGENT
    references = metadata.get("ownerReferences") or []
    names = [owner["name"] for owner in references if owner.get("controller") and owner.get("kind") == "DaemonSet"]
    return f"{metadata['namespace']}/{names[0]}" if names else None


def _marks(pod: Mapping[str, Any]) -> frozenset[str]:
    """Another one whenever a container is started, also by a clock that stands still."""
    return frozenset(
        "/".join(
            [
                pod["metadata"]["uid"],
                container["name"],
                str(container.get("containerID")),
                str(container.get("restartCount")),
                str(((container.get("state") or {}).get("running") or {}).get("startedAt")),
            ]
        )
        for container in (pod.get("status") or {}).get("containerStatuses") or []
    )


# --- what is said -----------------------------------------------------------------------------------------------------


def waits(cluster: str, name: str, lacking: str, passed: float, seconds: float) -> str:
    """While it waits."""
    return f"{cluster}: {name} waits for its other type ({passed:.0f} of {seconds:.0f} s): {lacking}"


def not_changed(cluster: str, name: str, lacking: str, seconds: float) -> str:
    """When it has waited in vain."""
    return (
        f"{cluster}: {name} does not get its other type, for which it would be switched off: after {seconds:.0f} s "
        f"{lacking}. Nothing was changed on it, nor on what comes after it in its group. Bring those back first; the "
        "next `pulumi up` goes on there"
    )
