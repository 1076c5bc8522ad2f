"""Which peer in NetBird is the router of which node. Pure, and without the settings: the provider's process starts in
every preview.

A router's identity lies on its node and outlives its name: a peer is called in NetBird as it was when it enrolled.
Today that is by its node (``isthmus-de-router-de-agent-2``); the one router of a cluster that an earlier release raised
has the plain name (``isthmus-de-router``), also when others have joined it. An address stays with its identity, so
those that the last update noted tell the plain ones apart.

Shapes are those of NetBird's API (https://docs.netbird.io/api/resources/peers, 0.77.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Peer = Mapping[str, Any]


@dataclass(frozen=True)
class RouterPeers:
    """``of`` is {node: its peer}, connected or not; ``left`` are peers of nodes that are no routers any more, and those
    that another peer of the same node has taken the place of.
    """

    of: Mapping[str, Peer]
    left: Sequence[Peer]

    @property
    def addresses(self) -> dict[str, str]:
        """The NetBird address of each router node that has a peer."""
        return {node: str(peer["ip"]) for node, peer in self.of.items()}

    def connected(self, nodes: Sequence[str]) -> bool:
        """Whether all of these nodes have their peer, connected."""
        return all(node in self.of and self.of[node]["connected"] for node in nodes)


def plain_hostname(group: str) -> str:
    """What the one router of a cluster is called, from the name of the routers' group."""
    return group.removesuffix("s")


def is_router_name(group: str, name: str) -> bool:
    """Whether a peer of this name is a router of the cluster with this group."""
    plain = plain_hostname(group)
    return name == plain or name.startswith(f"{plain}-")


def router_peers(group: str, nodes: Sequence[str], noted: Mapping[str, str], peers: Sequence[Peer]) -> RouterPeers:
    """The peers of the router nodes among ``peers``. ``noted`` is {node: NetBird address} as of the last update, with
    the nodes that were routers then.

    Of two peers of one node the connected one counts, and of those the newer one: a machine that was made anew has a
    new identity. A peer of the plain name of which nothing tells the node is that of the only node that lacks one.
    """
    found: dict[str, list[Peer]] = {}
    unknown: list[Peer] = []
    for peer in peers:
        if not is_router_name(group, peer["name"]):
            continue
        node = _node_of(group, nodes, noted, peer)
        (unknown if node is None else found.setdefault(node, [])).append(peer)
    lacking = [node for node in nodes if not any(peer["connected"] for peer in found.get(node, []))]
    if len(lacking) == 1:
        found.setdefault(lacking[0], []).extend(unknown)
        unknown = []
    of = {node: max(found[node], key=_rank) for node in nodes if found.get(node)}
    taken = [peer["id"] for peer in of.values()]
    # Of a double that is connected nobody knows whose it is, but where its node is known and has no router any more.
    left = [
        peer
        for node, its in found.items()
        for peer in its
        if peer["id"] not in taken and (node not in nodes or not peer["connected"])
    ]
    return RouterPeers(of, [*left, *(peer for peer in unknown if not peer["connected"])])


def _node_of(group: str, nodes: Sequence[str], noted: Mapping[str, str], peer: Peer) -> str | None:
    name, plain = str(peer["name"]), plain_hostname(group)
    if name != plain:
        return name.removeprefix(f"{plain}-")
    at = next((node for node, address in noted.items() if address == str(peer["ip"])), None)
    # Agents say what their machine is called, which mostly is what its Node is called.
    return at or next((node for node in nodes if node == peer.get("hostname")), None)


def _rank(peer: Peer) -> tuple[bool, str]:
    return bool(peer["connected"]), str(peer.get("created_at") or "")
