"""Looks, in each ``up``, whether every machine of the settings is a node of the cluster.

Nothing depends on it: what is in the cluster goes on without the machines that are away, and this says which those are.

It is no resource: a machine that did not join in time ends the ``up``, and the next one looks anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from domain.leaving import stays_after_all
from domain.names import INSTALL_LOG
from domain.node_marks import marking
from domain.nodes import Node
from domain.upgrading import UPGRADES_ANNOTATION

JOIN_SECONDS: Final = 900.0
"""From the moment when the API serves: a machine that was made with the first server is then well under way."""
ANSWER_SECONDS: Final = 60.0
"""For an API that does not answer: who needs it says so better."""
LOOK_SECONDS: Final = 3.0
TELL_SECONDS: Final = 10.0


@dataclass(frozen=True)
class NodesThere:
    """``missing`` have not joined, ``starting`` have and are not ready yet; ``away`` says of which nothing was heard
    since when, and why.
    """

    missing: tuple[str, ...]
    starting: tuple[str, ...]
    away: Mapping[str, str]

    @property
    def comes(self) -> bool:
        """Whether something is to be waited for: a machine that was there and is away may stay so."""
        return bool(self.missing or self.starting)

    def __str__(self) -> str:
        found = [f"{name} has not joined" for name in self.missing]
        return ", ".join(found + [f"{name} is not ready yet" for name in self.starting])


def nodes_there(listed: Mapping[str, Any], wanted: Sequence[str]) -> NodesThere:
    """The wanted nodes in the API's list of all."""
    items = {item["metadata"]["name"]: item for item in listed.get("items") or []}
    starting, away = [], {}
    for name in wanted:
        conditions = (items.get(name, {}).get("status") or {}).get("conditions") or []
        ready: Mapping[str, Any] = next((condition for condition in conditions if condition["type"] == "Ready"), {})
        if ready.get("status") == "Unknown":
            away[name] = f"since {ready.get('lastTransitionTime')}: {ready.get('message') or ready.get('reason')}"
        elif name in items and ready.get("status") != "True":
            starting.append(name)
    return NodesThere(tuple(name for name in wanted if name not in items), tuple(starting), away)


class NodesMissingError(pulumi.RunError):
    """Machines of the settings are no nodes. The engine shows the text without a traceback."""


async def wait_for_nodes(
    look: Callable[[], Awaitable[Mapping[str, Any]]],
    stack: str,
    nodes: Sequence[Node],
    say: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    first_boot: bool,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Returns when all have joined, and names those that are away. Raises :class:`NodesMissingError` at the deadline.

    Not in a thread: a program that fails elsewhere must not wait for this.
    """
    begun = answered = told_at = now()
    told = ""
    while True:
        found = None
        try:
            found = nodes_there(await look(), [node.name for node in nodes])
            there, answered = str(found), now()
        except KubernetesError as error:
            there = str(error)
        passed = now() - begun
        if found is None and now() - answered >= ANSWER_SECONDS:
            warn(f"{stack}: its nodes can't be looked at: {there}")
            return
        if found is not None and (not found.comes or passed >= JOIN_SECONDS):
            break
        if there != told or now() - told_at >= TELL_SECONDS:
            say(f"{stack}: waiting for its nodes ({passed:.0f} of {JOIN_SECONDS:.0f} s): {there}")
            told, told_at = there, now()
        await sleep(LOOK_SECONDS)
    for name in found.starting:
        warn(f"{stack}: node {name} is not ready after {JOIN_SECONDS:.0f} s; `kubectl describe node {name}` says why")
    for name, reason in found.away.items():
        warn(f"{stack}: node {name} is away {reason} What runs there alone is down, and all else went on without it")
    if found.missing:
        raise NodesMissingError(_too_late(stack, nodes, found.missing, first_boot=first_boot))


def _too_late(stack: str, nodes: Sequence[Node], missing: Sequence[str], *, first_boot: bool) -> str:
    late = [node for node in nodes if node.name in missing]
    who = ", ".join(f"{node.name} ({node.address})" for node in late)
    units = sorted({"k3s" if node.role == "server" else "k3s-agent" for node in late})
    where = f"{INSTALL_LOG} and " if first_boot else ""
    return (
        f"{stack}: not joined within {JOIN_SECONDS:.0f} s: {who}; everything that does not need it is done. {where}"
        f"`journalctl -u {' -u '.join(units)}` there may say why; where that is 'Node password rejected', the name was "
        "another machine's: `kubectl delete node NAME`. Nothing of this stands in the way of the next `pulumi up`"
    )


def look_and_open(client: KubernetesClient, stack: str, wanted: Sequence[Node], *, settled: bool) -> Mapping[str, Any]:
    """The API's list of all nodes. One of those that are wanted is made schedulable again where it was to leave, or to
    go on to another k3s and the nodes are ``settled``: none is to go on. And it gets the labels and taints of the stack
    file.
    """
    listed = client.request("GET", "/api/v1/nodes")
    names = [node.name for node in wanted]
    for name, patch in stays_after_all(listed, names).items():
        _patch(client, name, patch)
        pulumi.log.info(f"{stack}: node {name} was to leave and stays; it is schedulable again")
    for name, patch in stays_after_all(listed, names, UPGRADES_ANNOTATION).items() if settled else ():
        _patch(client, name, patch)
        pulumi.log.info(f"{stack}: node {name} was to go on to another k3s and stays; it is schedulable again")
    items = {item["metadata"]["name"]: item for item in listed.get("items") or []}
    for node in wanted:
        change = marking(items[node.name], node.marks) if node.name in items else None
        if change is not None:
            _patch(client, node.name, change)
            pulumi.log.info(f"{stack}: node {node.name} has the labels and taints of its pool")
    return listed


def _patch(client: KubernetesClient, name: str, patch: Mapping[str, Any]) -> None:
    client.request("PATCH", f"/api/v1/nodes/{name}", body=patch, content_type="application/merge-patch+json")


def watch_nodes(
    kubeconfig: pulumi.Output[str],
    context: str | None,
    stack: str,
    nodes: Sequence[Node],
    *,
    first_boot: bool,
    settled: bool,
) -> None:
    """Looks once the kubeconfig is known, beside all else. A preview does not. ``settled`` as of
    :func:`look_and_open`.
    """
    if pulumi.runtime.is_dry_run():
        return

    async def look(text: str) -> str:
        try:
            client = KubernetesClient(text, context)
        except UnsupportedKubeconfigError as reason:
            pulumi.log.debug(f"{stack}: no look at its nodes: {reason}")
            return ""

        async def nodes_listed() -> Mapping[str, Any]:
            return await asyncio.to_thread(look_and_open, client, stack, nodes, settled=settled)

        await wait_for_nodes(nodes_listed, stack, nodes, pulumi.log.info, pulumi.log.warn, first_boot=first_boot)
        return ""

    # The program does not end before what it has begun.
    _looked: pulumi.Output[str] = kubeconfig.apply(look)
