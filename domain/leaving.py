"""How a node leaves its cluster: which of its pods are evicted, what the API's answers mean, and what is said.

A node leaves when its machine is out of the stack file. Its pods are evicted, so that PodDisruptionBudgets hold
(https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/); then its Node is deleted, and with it k3s lets
go of its password and of its member of etcd; then the machine goes. It owns the rules. Who asks is
``components/node_leaving.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LEAVES_ANNOTATION: Final = "isthmus.dev/leaves"
"""On a Node that this program made unschedulable because it leaves, as long as it has not left."""
MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"
DRAIN_SECONDS: Final = 600
"""Default of k3s.drain_seconds."""
SHOWN_PODS: Final = 10
"""As many pods as a message names."""
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_TOO_MANY_REQUESTS: Final = 429
_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500
_BUDGET: Final = "DisruptionBudget"
_NAMESPACE_GOES: Final = "NamespaceTerminating"


@dataclass(frozen=True)
class Purpose:
    """Why a node is emptied, in messages: what it does not do where its pods stay, how all else is then, and what it is
    at meanwhile.
    """

    deed: str
    otherwise: str
    meanwhile: str


LEAVING: Final = Purpose("leave", "its machine stays", "leaves")


@dataclass(frozen=True)
class Pod:
    """A pod that has to go. ``ends`` says that it does already."""

    namespace: str
    name: str
    ends: bool

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class PodsOfNode:
    """``go``: those that are evicted, and those that end already. ``alone``: those that nobody would make elsewhere.
    With one of them nothing is evicted.
    """

    go: tuple[Pod, ...]
    alone: tuple[Pod, ...]


def pods_of_node(listed: Mapping[str, Any]) -> PodsOfNode:
    """From the API's list of the pods of a node.

    Left are those of DaemonSets, which no other node would take, mirror pods, which are the kubelet's own, and those
    that have ended by themselves. Pods with emptyDir go like others: what it holds is the pod's, and ends with it.
    """
    go, alone = [], []
    for item in sorted(listed.get("items") or [], key=_key):
        metadata = item["metadata"]
        owner: Mapping[str, Any] = next(
            (reference for reference in metadata.get("ownerReferences") or [] if reference.get("controller")), {}
        )
        ended = (item.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if MIRROR_ANNOTATION in (metadata.get("annotations") or {}) or owner.get("kind") == "DaemonSet" or ended:
            continue
        pod = Pod(metadata["namespace"], metadata["name"], "deletionTimestamp" in metadata)
        go.append(pod)
        if not owner and not pod.ends:
            alone.append(pod)
    return PodsOfNode(tuple(go), tuple(alone))


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def eviction(pod: Pod) -> dict[str, Any]:
    """What is posted to ``pods/NAME/eviction``. The pod has as long to end as it asks for itself."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    }


@dataclass(frozen=True)
class Refusal:
    """A pod was not evicted. ``again``: the same request may succeed a moment later."""

    reason: str
    again: bool


def refusal(status: int | None, message: str, causes: Sequence[tuple[str, str]]) -> Refusal | None:
    """What an answer means that is no success; None where the pod is gone. ``status`` is None without an answer,
    ``causes`` are reason and message of each cause that it gives.

    A budget answers 429 and gives its name in a cause; two budgets for one pod answer 500, which the API can't count.
    """
    if status == _NOT_FOUND:
        return None
    said = next((text for reason, text in causes if reason == _BUDGET), message)
    goes = any(reason == _NAMESPACE_GOES for reason, _ in causes)
    again = (
        status is None
        or status in (_CONFLICT, _TOO_MANY_REQUESTS)
        or status >= _SERVER_ERROR
        or (status == _FORBIDDEN and goes)
    )
    return Refusal(said.rstrip("."), again)


def is_away(node: Mapping[str, Any]) -> str | None:
    """Since when nothing was heard of it, None for one that is there. Its pods can't end: their kubelet is gone."""
    for condition in (node.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "Unknown":
            return f"since {condition.get('lastTransitionTime')}"
    return None


# --- schedulable or not -----------------------------------------------------------------------------------------------


def closing(node: Mapping[str, Any], mark: str = LEAVES_ANNOTATION) -> dict[str, Any] | None:
    """The merge patch that makes it unschedulable, with that mark of ours. None where it is so already: a person's
    doing then stays a person's.
    """
    if (node.get("spec") or {}).get("unschedulable"):
        return None
    return {"metadata": {"annotations": {mark: "true"}}, "spec": {"unschedulable": True}}


def opening(node: Mapping[str, Any], mark: str = LEAVES_ANNOTATION) -> dict[str, Any] | None:
    """The merge patch that takes that back. None for a Node without that mark."""
    if mark not in (node["metadata"].get("annotations") or {}):
        return None
    return {"metadata": {"annotations": {mark: None}}, "spec": {"unschedulable": None}}


def stays_after_all(
    listed: Mapping[str, Any], wanted: Sequence[str], mark: str = LEAVES_ANNOTATION
) -> dict[str, dict[str, Any]]:
    """Of the API's list of Nodes those that are to stay and were closed with that mark, each with the patch that opens
    it: an ``up`` was killed in between, and then the stack file was as before again.
    """
    found = {item["metadata"]["name"]: opening(item, mark) for item in listed.get("items") or []}
    return {name: patch for name in wanted if (patch := found.get(name)) is not None}


# --- the order --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What counts of a node for the order. ``server``: it runs the API."""

    name: str
    server: bool
    router: bool


def leaving_order(nodes: Sequence[Part]) -> dict[str, tuple[str, ...]]:
    """Each with those that stay for longer where several leave at once; whoever stays the longest comes first: servers,
    then routers among the agents, one after the other, then all other agents beside each other.

    A server goes alone, since each takes a member of etcd with it, and right before its machine does, or k3s would join
    there anew. Of several, one that is a router goes last.
    """
    found: dict[str, tuple[str, ...]] = {}
    one_by_one: list[str] = []
    for node in sorted(nodes, key=lambda node: (not node.server, not node.router)):
        found[node.name] = tuple(one_by_one)
        if node.server or node.router:
            one_by_one.append(node.name)
    return found


# --- what is said -----------------------------------------------------------------------------------------------------


def _named(pods: Sequence[str]) -> str:
    more = len(pods) - SHOWN_PODS
    return ", ".join(pods[:SHOWN_PODS]) + (f" and {more} more" if more > 0 else "")


def still_there(pods: Sequence[Pod], refused: Mapping[Pod, Refusal]) -> str:
    """The pods that have not gone, each with the reason."""
    return _named([f"{pod} ({refused[pod].reason if pod in refused else 'is ending'})" for pod in pods])


def nobody_makes_them_anew(cluster: str, node: str, pods: Sequence[Pod], purpose: Purpose = LEAVING) -> str:
    """Of pods without a controller. Nothing was changed."""
    first = pods[0]
    return (
        f"{cluster}: node {node} does not {purpose.deed}: no controller would make these of its pods anew elsewhere: "
        f"{_named([str(pod) for pod in pods])}. Delete those that may go (`kubectl -n {first.namespace} delete pod "
        f"{first.name}`), and run the same command again. Nothing was changed, and {purpose.otherwise}"
    )


def not_begun(cluster: str, node: str, reason: str, purpose: Purpose = LEAVING) -> str:
    """Of a cluster that refuses to be asked."""
    otherwise = f"{purpose.otherwise[0].upper()}{purpose.otherwise[1:]}"
    return f"{cluster}: node {node} does not {purpose.deed}: {reason}. {otherwise}; run the same command again"


def not_evicted(
    cluster: str,
    node: str,
    seconds: float,
    pods: Sequence[Pod],
    refused: Mapping[Pod, Refusal],
    *,
    reopened: bool,
    purpose: Purpose = LEAVING,
) -> str:
    """Of an eviction that came to nothing."""
    state = "The node is schedulable again" if reopened else "The node is as schedulable as it was"
    return (
        f"{cluster}: node {node} does not {purpose.deed}: after {seconds:.0f} s these of its pods are still there: "
        f"{still_there(pods, refused)}. {state}, and {purpose.otherwise}. Let the budgets allow it "
        "(`kubectl get pdb -A`), or give it more time by k3s.drain_seconds, and run the same command again"
    )


def node_stays(cluster: str, node: str, seconds: float) -> str:
    """Of a Node that was deleted and is still there: k3s takes a server's member out of etcd first."""
    return (
        f"{cluster}: node {node} does not leave: it is empty, and {seconds:.0f} s after its deletion its Node is still "
        f"there. Where it is a server, etcd does not let it go as long as other servers are away: bring them back, and "
        f"run the same command again; `kubectl get node {node} -o jsonpath={{.metadata.finalizers}}` says who holds it"
    )


def nobody_answers(cluster: str, node: str, reasons: str) -> str:
    """Of an agent whose cluster can't be asked: its machine goes all the same."""
    return (
        f"{cluster}: node {node} leaves without its pods being evicted, since no server answers ({reasons}). Where the "
        f"cluster runs on, delete its Node: `kubectl delete node {node}`"
    )


def server_stays(cluster: str, node: str, reasons: str) -> str:
    """Of a server whose cluster can't be asked: with its machine a vote of etcd would go, and with it perhaps the last
    majority.
    """
    return (
        f"{cluster}: node {node} does not leave: no server answers ({reasons}), and without one its member of etcd "
        "can't be taken out. Run the same command again from where the API is reached. If the cluster is lost, take "
        f"the resource {node}-member out of the state (`pulumi stack --show-urns`, `pulumi state delete URN`) first"
    )
