"""A node is made anew because its number in the stack file is a higher one: in which order, when not, and what is said.

It leaves as any other node does (``leaving.py``), its machine gets an empty disk, and it joins again under its name and
address. It owns the rules. Who asks is ``components/node_generation.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from domain.k3s_upgrades import release
from domain.leaving import Part
from domain.nodes import FIRST_GENERATION, Node

VOTER: Final = "EtcdIsVoter"
"""Condition of k3s on the Node of a server (pkg/etcd/etcd.go): False as long as its member of etcd learns."""


def raised(nodes: Iterable[Node]) -> dict[str, int]:
    """The generations of those that were made anew, or were first made with a higher number."""
    return {node.name: node.generation for node in nodes if node.generation > FIRST_GENERATION}


def order(nodes: Sequence[Part]) -> list[str]:
    """One after the other: servers, which may not be older than a worker, then workers, of each those that carry a link
    last.
    """
    return [node.name for node in sorted(nodes, key=lambda node: (not node.server, node.router))]


def why_not_now(
    listed: Mapping[str, Any], name: str, *, server: bool, servers: Sequence[str], version: str
) -> str | None:
    """What stands against making this node anew, from the API's list of Nodes; None where nothing does. ``version`` is
    the release of k3s that it would come with, ``servers`` are all that the stack has.
    """
    nodes = {item["metadata"]["name"]: item for item in listed.get("items") or []}
    others = [other for other in servers if other != name]
    if server and not others:
        return "it is the only server, and the cluster's data is on it"
    if server and (away := [other for other in others if not is_ready(nodes.get(other))]):
        return f"of the other servers {names_are(away)} not ready, and etcd needs a majority: bring them back first"
    run = {other: found for other in others if (found := release(kubelet(nodes.get(other)))) is not None}
    wanted = release(version)
    if wanted is None or not run:
        return None
    oldest, newest = min(run, key=lambda other: run[other]), max(run, key=lambda other: run[other])
    if not server and wanted[0] > run[oldest][0]:
        return (
            f"it would come with k3s {version}, and the server {oldest} runs {kubelet(nodes[oldest])}; a worker is "
            "never newer than a server: give the servers a higher generation as well"
        )
    if server and wanted[0] > run[oldest][0] + 1:
        return (
            f"it would come with k3s {version}, and the server {oldest} runs {kubelet(nodes[oldest])}; Kubernetes "
            "goes from one minor release to the next"
        )
    if server and wanted < run[newest]:
        return (
            f"it would come with k3s {version}, and the server {newest} runs {kubelet(nodes[newest])}; the data is of "
            "the newer one"
        )
    return None


def is_back(node: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Whether a node that was made anew does its work, and what is there."""
    if node is None:
        return False, "it has not joined"
    if not is_ready(node):
        return False, "it has joined and is not ready yet"
    if _condition(node, VOTER).get("status") == "False":
        return False, "its member of etcd has no vote yet"
    return True, "it is ready"


def is_ready(node: Mapping[str, Any] | None) -> bool:
    """Whether its kubelet says so."""
    return node is not None and _condition(node, "Ready").get("status") == "True"


def _condition(node: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (node.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), {})


def kubelet(node: Mapping[str, Any] | None) -> str:
    """The release that a node runs, as its kubelet says it; empty where it does not."""
    return str((((node or {}).get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion") or "")


def names_are(names: Sequence[str]) -> str:
    """The names, and the verb behind them."""
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


# --- what is said -----------------------------------------------------------------------------------------------------


def not_begun(cluster: str, node: str, reason: str) -> str:
    """Of a node that stays as it is."""
    return f"{cluster}: node {node} is not made anew: {reason}. Nothing was changed; run the same command again then"


def not_rebuilt(cluster: str, node: str, reason: str) -> str:
    """Of a machine that has left its cluster."""
    return (
        f"{cluster}: node {node} has left and its machine could not be made anew: {reason}. The next `pulumi up` goes "
        "on there; no other node was touched after it"
    )


def not_back(cluster: str, node: str, seconds: float, state: str, where: str) -> str:
    """Of a machine that was made anew, ``where`` says where to look."""
    return (
        f"{cluster}: node {node} was made anew and is not back after {seconds:.0f} s: {state}. {where} The next "
        "`pulumi up` makes it anew once more; no other node was touched after it"
    )
