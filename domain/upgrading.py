"""A node goes on to another k3s where it is, or takes other settings of it: what stands against it, whether its pods
leave first, and what is said.

A patch and settings restart k3s alone, and the pods run on (``KillMode=process`` in ``node_files.py``), so the node is
closed to new pods for the while. For a minor release its pods leave first: a kubelet of another minor release may start
them anew (https://kubernetes.io/releases/version-skew-policy/). It owns the rules. Who asks is
``components/node_upgrade.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.generation import is_back, is_ready, kubelet, names_are
from domain.k3s_upgrades import is_of, release
from domain.leaving import Purpose

UPGRADES_ANNOTATION: Final = "isthmus.dev/upgrades"
"""On a Node that this program made unschedulable because it goes on to another k3s, as long as it has not."""
SETTINGS_ANNOTATION: Final = "isthmus.dev/settings"
"""Likewise of one that takes other settings. A mark of its own: what opens nodes again where the stack file has the
k3s of before (``components/node_watch.py``) has to leave these closed."""


@dataclass(frozen=True)
class Change:
    """What is done to a node's k3s: how messages say it, and the mark of a node that is closed for it."""

    do: str
    done: str
    mark: str


SETTINGS: Final = Change("take its settings of k3s", "taken its settings of k3s", SETTINGS_ANNOTATION)


def to_version(version: str) -> Change:
    """It goes on to this k3s, and takes the settings with it."""
    return Change(f"go on to k3s {version}", f"gone on to k3s {version}", UPGRADES_ANNOTATION)


def purpose(version: str) -> Purpose:
    """In messages about the pods of a node that goes on to this k3s."""
    return Purpose(f"go on to k3s {version}", "its k3s runs as before", "is emptied")


def behind(listed: Mapping[str, Any], names: Collection[str], version: str) -> list[str]:
    """Of these nodes those that are there and run another k3s, from the API's list of Nodes."""
    items = listed.get("items") or []
    return [name for item in items if (name := item["metadata"]["name"]) in names and not is_of(kubelet(item), version)]


def why_not_now(
    listed: Mapping[str, Any], name: str, *, server: bool, servers: Sequence[str], version: str
) -> str | None:
    """What stands against this node's going on, None where nothing does. ``servers`` are all that the stack has.

    That it is not ready stands against nothing: an upgrade that was cut off may have left it so.
    """
    nodes = {item["metadata"]["name"]: item for item in listed.get("items") or []}
    runs, wanted = release(kubelet(nodes.get(name))), release(version)
    if away := servers_away(listed, name, server=server, servers=servers):
        return f"of the other servers {names_are(away)} not ready, and etcd needs a majority: bring them back first"
    if runs is None or wanted is None:
        return None
    if wanted < runs:
        return f"it runs {kubelet(nodes[name])}, which is newer, and k3s does not go back"
    if wanted[0] > runs[0] + 1:
        return f"it runs {kubelet(nodes[name])}, and Kubernetes goes from one minor release to the next"
    return None if server else newer_than_servers(listed, servers, version)


def servers_away(listed: Mapping[str, Any], name: str, *, server: bool, servers: Sequence[str]) -> list[str]:
    """Of the servers besides a server those that are not ready."""
    nodes = {item["metadata"]["name"]: item for item in listed.get("items") or []}
    return [other for other in servers if server and other != name and not is_ready(nodes.get(other))]


def newer_than_servers(listed: Mapping[str, Any], servers: Sequence[str], version: str) -> str | None:
    """Why a worker can't run this k3s: its kubelet would be of a newer minor release than a server's API
    (https://kubernetes.io/releases/version-skew-policy/#kubelet). None where it can, or nobody says what servers run.
    """
    wanted = release(version)
    of_servers = {
        name: kubelet(item) for item in listed.get("items") or [] if (name := item["metadata"]["name"]) in servers
    }
    older = [
        f"{name} runs {runs}"
        for name, runs in of_servers.items()
        if wanted is not None and (its := release(runs)) is not None and wanted[0] > its[0]
    ]
    if not older:
        return None
    return f"it would run k3s {version}, and the server {older[0]}; a worker is never newer than a server"


def drains(node: Mapping[str, Any], version: str) -> bool:
    """Whether its pods leave first."""
    runs, wanted = release(kubelet(node)), release(version)
    return runs is None or wanted is None or runs[0] != wanted[0]


def has_gone_on(node: Mapping[str, Any] | None, version: str) -> tuple[bool, str]:
    """Whether it does its work with this k3s, and what is there."""
    if node is not None and not is_of(kubelet(node), version):
        return False, f"its kubelet says {kubelet(node) or 'nothing'}"
    return is_back(node)


# --- what is said -----------------------------------------------------------------------------------------------------


def not_made(cluster: str, node: str, reason: str) -> str:
    """Of a worker whose machine is not there yet."""
    return (
        f"{cluster}: {node} is not made: {reason}. Write that k3s.version again until {node} is there, and the newer "
        "one then: `pulumi up` brings all nodes to it, servers first"
    )


def not_begun(cluster: str, node: str, change: Change, reason: str) -> str:
    """Of a node that runs as before."""
    return (
        f"{cluster}: node {node} does not {change.do}: {reason}. Nothing was changed on it, and no node "
        "after it was touched; the next `pulumi up` goes on there"
    )


def not_settled(cluster: str, node: str, away: Sequence[str], passed: float, seconds: float) -> str:
    """Of a node that has not joined yet, or of the other servers that are ``away``."""
    state = f"of the other servers {names_are(away)} not ready" if away else "it has not joined the cluster"
    return f"{cluster}: node {node} waits ({passed:.0f} of {seconds:.0f} s): {state}"


def not_asked(cluster: str, node: str, version: str, reason: str) -> str:
    """Of a node that was away when it was noted for the first time, and may run another k3s, or with other settings."""
    return (
        f"{cluster}: node {node} was not asked which k3s it runs, and with which settings: {reason}. It is noted with "
        f"{version} and the settings of now; where it has others, it goes on with the next change of them, or is made "
        "anew by a higher generation"
    )


def restarted_all_the_same(cluster: str, node: str, reason: str) -> str:
    """Of the only server, whose settings may be why it does not answer."""
    return (
        f"{cluster}: node {node} does not answer ({reason}), and has other settings of k3s than the stack file: it "
        "takes them all the same, as the only server"
    )


def not_staged(cluster: str, version: str, reasons: Mapping[str, str]) -> str:
    """Of machines that have not got the binary, by their nodes."""
    said = "; ".join(f"{node}: {reason}" for node, reason in reasons.items())
    return f"{cluster}: no node goes on to k3s {version}, since it is not on all machines: {said}. No node was touched"


def not_installed(cluster: str, node: str, change: Change, reason: str) -> str:
    """Of a node that was closed, and may run either."""
    return (
        f"{cluster}: node {node} has not {change.done}: {reason}. It stays unschedulable until it has, and "
        "no node after it was touched; the next `pulumi up` goes on there"
    )


def not_there(cluster: str, node: str, change: Change, seconds: float, state: str) -> str:
    """Of a node on which k3s was installed and started."""
    return not_installed(cluster, node, change, f"{seconds:.0f} s after its k3s was started {state}")
