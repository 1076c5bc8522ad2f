"""The routers of a cluster as peers in NetBird: waiting for them, and keeping them in their group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from components.netbird_client import Json, NetbirdClient
from components.netbird_provider import NetbirdProvider, group_id, tell
from domain.netbird_marks import may_be_in

PEER_DEADLINE_SECONDS: Final = 300.0
LET_GO: Final = (
    "kubectl -n netbird get networkrouters,groups.netbird.io,setupkeys -o name | xargs -r kubectl -n netbird patch "
    """--type merge -p '{"metadata":{"finalizers":null}}'"""
)
"""What it leaves in NetBird then goes with the claim (:mod:`components.netbird_claim`)."""
_PEER_POLL_SECONDS: Final = 2.0


class RouterPeersProvider(NetbirdProvider):
    """Of :class:`NetbirdRouterPeers`. There is nothing to delete: the peers go with their group, when no agent is left
    that would enrol again.
    """

    what = "peers of group"
    inputs = ("group", "hostnames", "router_uid")

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        return props["group"], self._wait(client, props)

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        return id_, self._wait(client, props)

    def _wait(self, client: NetbirdClient, props: Json) -> Json:
        put_back(client, props["group"], list(props["hostnames"].values()))
        return {"peers": wait_for_peers(client, props["group"], props["hostnames"])}

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        found = _peers(client, props["group"])
        hostnames = {node: hostname for node, hostname in props["hostnames"].items() if hostname in found}
        return {
            # As an input says it, a router that is not in its group shows as one that is not asked for.
            "hostnames": hostnames,
            "peers": {node: found[hostname]["ip"] for node, hostname in hostnames.items()},
        }

    def delete(self, _id: str, _props: Json) -> None:
        """Says what comes next: the router, by its operator's finalizer. The engine only says that it waits."""
        tell(
            "NetBird: now the operator takes what it made out of NetBird. If it can't (it is away, NetBird is, or its "
            f"token is revoked), that ends after 5 minutes with an error; this lets it go, at any time: {LET_GO}"
        )
        super().delete(_id, _props)

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        pass


def put_back(client: NetbirdClient, group: str, hostnames: list[str]) -> None:
    """Routers that are in the account and not in their group any more are put into it again; an agent does not do that
    by itself, its setup key counted only when it enrolled.
    """
    peers = client.list("/peers")
    missing = [
        peer
        for peer in peers
        if peer["name"] in hostnames
        and may_be_in(group, peer["name"])
        and not any(entry["name"] == group for entry in peer.get("groups") or [])
    ]
    if not missing:
        return
    id_ = group_id(client, group)
    there = client.get(f"/groups/{id_}") or {}
    members = [peer["id"] for peer in there.get("peers") or []] + [peer["id"] for peer in missing]
    client.put(f"/groups/{id_}", {"name": group, "peers": members, "resources": there.get("resources") or []})
    tell(f"NetBird: put {', '.join(sorted(peer['name'] for peer in missing))} back into group {group}")


def _peers(client: NetbirdClient, group: str) -> dict[str, Json]:
    """The peers of a group by name, which is NB_HOSTNAME (``hostname`` is that of the node). Of two with the same name
    the connected one counts.
    """
    found = [
        peer for peer in client.list("/peers") if any(entry["name"] == group for entry in peer.get("groups") or [])
    ]
    return {peer["name"]: peer for peer in sorted(found, key=lambda peer: bool(peer["connected"]))}


def wait_for_peers(
    client: NetbirdClient,
    group: str,
    hostnames: Mapping[str, str],
    *,
    deadline_seconds: float = PEER_DEADLINE_SECONDS,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """The NetBird address of each router node, once all of them are connected. ``hostnames`` is {node: name in
    NetBird}.

    Raises TimeoutError with the last state seen when the deadline passes.
    """
    end = now() + deadline_seconds
    while True:
        peers = _peers(client, group)
        if all(hostname in peers and peers[hostname]["connected"] for hostname in hostnames.values()):
            return {node: str(peers[hostname]["ip"]) for node, hostname in hostnames.items()}
        if now() >= end:
            seen = ", ".join(f"{hostname} ({_state_of(peers.get(hostname))})" for hostname in hostnames.values())
            raise TimeoutError(
                f"NetBird: after {deadline_seconds:.0f} s not all routers of {group} are connected: {seen}; "
                "look at the logs of the router pods in namespace netbird"
            )
        sleep(_PEER_POLL_SECONDS)


def _state_of(peer: Json | None) -> str:
    if peer is None:
        return "not enrolled"
    return "connected" if peer["connected"] else "enrolled, not connected"
