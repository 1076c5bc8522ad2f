"""The routers of a cluster as peers in NetBird: waiting for them, and keeping them in their group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from components.netbird_client import Json, NetbirdClient
from components.netbird_provider import NetbirdProvider, group_id, group_ids, tell
from domain.netbird_marks import may_be_in, setup_key_into
from domain.router_peers import RouterPeers, router_peers

PEER_DEADLINE_SECONDS: Final = 300.0
LET_GO: Final = (
    "kubectl -n netbird get networkrouters,groups.netbird.io,setupkeys -o name | xargs -r kubectl -n netbird patch "
    """--type merge -p '{"metadata":{"finalizers":null}}'"""
)
"""What it leaves in NetBird then goes with the claim (:mod:`components.netbird_claim`)."""
_PEER_POLL_SECONDS: Final = 2.0
_TELL_SECONDS: Final = 10.0


class RouterPeersProvider(NetbirdProvider):
    """Of :class:`NetbirdRouterPeers`. The peers are not deleted with it: they go with their group, when no agent is
    left that would enrol again. Those of nodes that are no routers any more go before, once the others are connected.
    """

    what = "peers of group"
    inputs = ("group", "hostnames", "router_uid", "generations", "left")
    expected: ClassVar[dict[str, Any]] = {"left": []}

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        return props["group"], self._wait(client, props, {})

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        return id_, self._wait(client, props, olds.get("peers") or {})

    def _wait(self, client: NetbirdClient, props: Json, noted: Mapping[str, str]) -> Json:
        put_back(client, props["group"], props["hostnames"], noted)
        found = wait_for_peers(client, props["group"], props["hostnames"], noted)
        for peer in found.left:
            client.delete(f"/peers/{peer['id']}")
            tell(f"NetBird: removed the peer {peer['name']} ({peer['ip']}), whose node has no router any more")
        if noted and {*noted.values()} != {*found.addresses.values()}:
            tell(
                f"NetBird: {props['group']} are others now; a stack that is linked with this one takes their addresses "
                "at its next `pulumi up`"
            )
        return {"peers": found.addresses}

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        found = _routers(client, props["group"], list(props["hostnames"]), props.get("peers") or {})
        return {
            # As an input says it, a router that is not in its group shows as one that is not asked for.
            "hostnames": {node: hostname for node, hostname in props["hostnames"].items() if node in found.of},
            "peers": found.addresses,
            "left": sorted(str(peer["name"]) for peer in found.left),
        }

    def delete(self, _id: str, _props: Json) -> None:
        """Says what comes next: the router, by its operator's finalizer. The engine only says that it waits."""
        tell(
            "NetBird: now the operator takes what it made out of NetBird. If it can't (it is away, NetBird is, or its "
            "token is revoked), that ends after 5 minutes with an error; this lets it go, at any time, and again while "
            f"it still waits: {LET_GO}"
        )
        super().delete(_id, _props)

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        """An operator that ended between making a key and noting it has made two of a name (0.8.0). It deletes the one
        that it knows, and NetBird then refuses to delete the operator's group, which the other one names: the router
        would never go. That a key is gone already is fine with the operator. The operator's keys are those that let
        into our group as well; another of the name is somebody's own, and stays.
        """
        name, ours = setup_key_into(props["group"]), {*group_ids(client, props["group"])}
        keys = [
            key
            for key in client.list("/setup-keys")
            if key["name"] == name and ours.intersection(key.get("auto_groups") or [])
        ]
        for key in keys if len(keys) > 1 else []:
            client.delete(f"/setup-keys/{key['id']}")
            tell(f"NetBird: removed setup key {name} ({key['id']}), one of {len(keys)} of the name")


def put_back(client: NetbirdClient, group: str, hostnames: Mapping[str, str], noted: Mapping[str, str]) -> None:
    """Routers that are in the account and not in their group any more are put into it again; an agent does not do that
    by itself, its setup key counted only when it enrolled.
    """
    peers = [peer for peer in client.list("/peers") if may_be_in(group, peer["name"])]
    ours = {peer["id"] for peer in router_peers(group, list(hostnames), noted, peers).of.values()}
    missing = [peer for peer in peers if peer["id"] in ours and not _is_in(group, peer)]
    if not missing:
        return
    id_ = group_id(client, group)
    there = client.get(f"/groups/{id_}") or {}
    members = [peer["id"] for peer in there.get("peers") or []] + [peer["id"] for peer in missing]
    client.put(f"/groups/{id_}", {"name": group, "peers": members, "resources": there.get("resources") or []})
    tell(f"NetBird: put {', '.join(sorted(peer['name'] for peer in missing))} back into group {group}")


def _is_in(group: str, peer: Json) -> bool:
    return any(entry["name"] == group for entry in peer.get("groups") or [])


def _routers(client: NetbirdClient, group: str, nodes: list[str], noted: Mapping[str, str]) -> RouterPeers:
    """Peers are told by their ``name``, which is NB_HOSTNAME (``hostname`` is that of the machine)."""
    return router_peers(group, nodes, noted, [peer for peer in client.list("/peers") if _is_in(group, peer)])


def wait_for_peers(
    client: NetbirdClient,
    group: str,
    hostnames: Mapping[str, str],
    noted: Mapping[str, str],
    *,
    deadline_seconds: float = PEER_DEADLINE_SECONDS,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> RouterPeers:
    """The peers of the router nodes, once all of them are connected. ``hostnames`` is {node: name that its agent
    gives}, ``noted`` {node: address} as of the last update. It says what is there when that changes, and every ten
    seconds.

    Raises TimeoutError with the last state seen when the deadline passes.
    """
    begun = told_at = now()
    told = ""
    while True:
        found = _routers(client, group, list(hostnames), noted)
        if found.connected(list(hostnames)):
            return found
        passed = now() - begun
        seen = ", ".join(
            f"{hostname} on {node} ({_state_of(found.of.get(node))})" for node, hostname in hostnames.items()
        )
        if passed < deadline_seconds and (seen != told or begun + passed - told_at >= _TELL_SECONDS):
            tell(f"NetBird: waiting for the routers of {group} ({passed:.0f} of {deadline_seconds:.0f} s): {seen}")
            told, told_at = seen, begun + passed
        if passed >= deadline_seconds:
            raise TimeoutError(
                f"NetBird: after {deadline_seconds:.0f} s not all routers of {group} are connected: {seen}; "
                "look at the logs of the router pods in namespace netbird"
            )
        sleep(_PEER_POLL_SECONDS)


def _state_of(peer: Mapping[str, Any] | None) -> str:
    if peer is None:
        return "not enrolled"
    return "connected" if peer["connected"] else "enrolled, not connected"
