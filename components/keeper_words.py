"""What the keepers say of the links, read from their logs in each ``up``, and the last look at a link by them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from components.kubernetes_client import KubernetesClient, KubernetesError
from components.waiting import Seen, Wait
from components.waits import KEEPERS, is_ready, quoted
from domain.keeper import KeeperStatus, read_status, why_not
from domain.objects.keeper import CONTAINER

LINK_SECONDS: Final = 30.0
"""From an egress policy to the keepers' word that the link carries: they look several times a second, and read of a new
peer within a minute or so. What is late is named, and no failure."""
PODS_PATH: Final = f"/api/v1/namespaces/{KEEPERS.namespace}/pods"
_LINES: Final = 200
"""Of a log: a keeper says its status once a minute at least."""


def keepers_say(client: KubernetesClient, routers: Sequence[str]) -> dict[str, KeeperStatus]:
    """{router node: what its keeper saw last}, without those that have said nothing or can't be read: a kubelet that is
    away. Raises KubernetesError for an API that is.
    """
    return {node: status for node, (pod, status) in _last_words(client, routers).items() if status and is_ready(pod)}


def without_way(client: KubernetesClient, nodes: Collection[str]) -> dict[str, Collection[str] | None]:
    """{node: peers from whom nothing has come through WireGuard there yet}, None for all: its keeper has not looked,
    says that its node is not in order, or can't be read. Empty where no keepers are. A keeper need not be ready: it is
    told of a new router only once that one has taken its place. Raises KubernetesError as :func:`keepers_say` does.
    """
    words = _last_words(client, nodes)
    if not words:
        return {}
    said = {node: status for node, (_, status) in words.items() if status and status.peers and not status.own}
    return {node: said[node].without_tunnel if node in said else None for node in nodes}


def why_not_in_order(client: KubernetesClient, node: str) -> str:
    """What the keeper of a router says that its node lacks, or that it says nothing; empty where all is in order, and
    where no keepers are. Of links it is not asked: a peer may be away. Raises KubernetesError as :func:`keepers_say`
    does.
    """
    if not (words := _last_words(client, [node])):
        return ""
    pod, status = words[node]
    if status is None or not is_ready(pod):
        return "its keeper has not said yet that the node is in order"
    return f"its keeper says: {'; '.join(status.own)}" if status.own else ""


def _last_words(client: KubernetesClient, nodes: Collection[str]) -> dict[str, tuple[Any, KeeperStatus | None]]:
    """{node: the keeper's pod, and what it said last}, of those nodes that have one."""
    found: dict[str, tuple[Any, KeeperStatus | None]] = {}
    for pod in client.request("GET", f"{PODS_PATH}?labelSelector={quoted(KEEPERS.selector)}").get("items") or []:
        node, name = pod["spec"].get("nodeName"), pod["metadata"]["name"]
        if node not in nodes or "deletionTimestamp" in pod["metadata"]:
            continue
        found[node] = (pod, None)
        try:
            log = client.text(f"{PODS_PATH}/{name}/log?container={CONTAINER}&tailLines={_LINES}")
        except KubernetesError as error:
            if error.status is None:
                raise
            continue
        found[node] = (pod, read_status(log))
    return found


def words_on(client: KubernetesClient, routers: Sequence[str], peer: str) -> str:
    """The keepers' words on a link that does not come up; empty where they have none, or can't be read."""
    try:
        said = why_not(keepers_say(client, routers), peer)
    except KubernetesError:
        return ""
    return f"the keeper says: {said}" if said else ""


def link_carries(
    client: KubernetesClient, peer: str, routers: Sequence[str], *, now: Callable[[], float] = time.monotonic
) -> Wait:
    """The keepers' word that the link to a peer carries. Only said, and no failure: a peer may be away."""
    begun = now()

    def look() -> Seen:
        said = keepers_say(client, routers)
        words = why_not(said, peer)
        if said and not words and all(peer in status.peers for status in said.values()):
            return Seen(True, "it carries")
        state = words or "no keeper has said so yet"
        if now() - begun < LINK_SECONDS:
            return Seen(False, state)
        note = f"the link to {peer} is in place and does not carry yet. The keeper says: {words}"
        return Seen(True, state, (note,) if words else ())

    return Wait(f"the keepers' word on the link to {peer}", look, lambda _seen: "", LINK_SECONDS + 10)
