"""The wait for NetBird's route to a peer, on the routers of a cluster, and why it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from components.keeper_words import words_on
from components.kubernetes_client import KubernetesClient, KubernetesError
from components.netbird_client import NetbirdClient, NetbirdError
from components.waiting import Seen, Wait
from components.waits import GUARDS, is_ready, nodes_away, quoted
from domain.egress_policy import egress_policy_name
from domain.guard import GuardState, read_state
from domain.link_reason import why_no_route
from domain.objects.guard import CONTAINER

ROUTE_SECONDS: Final = 300.0
"""From the policies in NetBird to the route on the router: a second where all is well."""
ALL_ROUTES_SECONDS: Final = 60.0
"""After that one router with its route is enough: others may stay away for longer than an `up` waits."""
NETBIRD_ANSWER_SECONDS: Final = 10.0
SOURCES_ANNOTATION: Final = "isthmus.dev/source-addresses"
"""Of an egress policy: the routers' addresses that Cilium has looked at for it."""
GUARDS_PATH: Final = f"/api/v1/namespaces/{GUARDS.namespace}/pods"


@dataclass(frozen=True)
class RouteWanted:
    """The ways to a peer on the routers of this cluster, names of their nodes: to its pods, and to its services where
    the link carries them. ``peer_routers`` are the addresses of the peer's.
    """

    cluster: str
    peer: str
    destinations: Sequence[IPv4Network]
    routers: Sequence[str]
    peer_routers: Sequence[IPv4Address]


def route(
    client: KubernetesClient,
    wanted: RouteWanted,
    own_peers: Mapping[str, str],
    management_url: str,
    token: str,
    *,
    now: Callable[[], float] = time.monotonic,
) -> Wait:
    """NetBird's route on the routers that are there, before Cilium is told to steer by it: on all of them, and for a
    while (:data:`ALL_ROUTES_SECONDS`) at least. Then one of them is enough for the link; the others are named.

    A policy that is in place and has seen the routers' addresses is not held back: a peer that is away for the moment
    must not stop an ``up``.
    """
    sources = ",".join(sorted(own_peers.values()))
    begun = now()

    def reason(seen: RoutersSeen) -> str:
        own = {node: own_peers[node] for node in seen.without if node in own_peers}
        netbird = NetbirdClient(management_url, token, timeout_seconds=NETBIRD_ANSWER_SECONDS, pauses=())
        in_netbird = _reason(wanted, own, netbird)
        return ". ".join(sentence for sentence in (words_on(client, seen.without, wanted.peer), in_netbird) if sentence)

    def look() -> RoutersSeen:
        seen = _routers_seen(client, wanted)
        if not seen.done and _in_place(client, wanted.peer, wanted.destinations, sources):
            note = (
                f"the link to {wanted.peer} is not seen to have its route: {seen.state}. {reason(seen)}. Its "
                "egress policy is in place and stays; without the route packets are refused until it is back"
            )
            return replace(seen, done=True, notes=(*seen.notes, note))
        if not seen.done and seen.routed and now() - begun >= ALL_ROUTES_SECONDS:
            note = f"not all routers have their route to {wanted.peer}: {seen.state}. {reason(seen)}"
            return replace(seen, done=True, notes=(*seen.notes, note))
        return seen

    return Wait(
        f"NetBird's route to {' and '.join(map(str, wanted.destinations))} ({wanted.peer})",
        look,
        lambda seen: reason(seen if isinstance(seen, RoutersSeen) else RoutersSeen(False, "", without=wanted.routers)),
        ROUTE_SECONDS,
    )


@dataclass(frozen=True)
class RoutersSeen(Seen):
    """Router nodes with NetBird's route (``routed``) and without; those that are away are neither."""

    routed: Sequence[str] = ()
    without: Sequence[str] = ()


def guard_state(client: KubernetesClient, pod: str) -> GuardState | None:
    """What this guard saw last, None before the first look. Raises KubernetesError, also when its kubelet is away."""
    return read_state(client.text(f"{GUARDS_PATH}/{pod}/log?container={CONTAINER}&tailLines=20"))


def _routers_seen(client: KubernetesClient, wanted: RouteWanted) -> RoutersSeen:
    pods = client.request("GET", f"{GUARDS_PATH}?labelSelector={quoted(GUARDS.selector)}")
    away = nodes_away(client.request("GET", "/api/v1/nodes"))
    without: dict[str, str] = {}
    routed, notes = [], []
    for node in wanted.routers:
        if node in away:
            notes.append(f"router node {node} is away {away[node]}; it was not waited for")
            continue
        on_node = [
            pod["metadata"]["name"]
            for pod in pods.get("items") or []
            if pod["spec"].get("nodeName") == node and is_ready(pod)
        ]
        if not on_node:
            without[node] = "no guard runs there"
            continue
        try:
            state = guard_state(client, on_node[0])
        except KubernetesError as error:
            if error.status is None:
                raise
            # The API asks the node's kubelet, which may be away while the link carries.
            without[node] = f"what its guard sees can't be read ({error})"
            continue
        if state is None:
            without[node] = "the guard has said nothing yet"
        elif faults := [fault for fault in (_fault(state, network) for network in wanted.destinations) if fault]:
            without[node] = faults[0]
        else:
            routed.append(node)
    there = f"{len(routed)} of {len(wanted.routers)} routers" if routed else "no router node is there"
    states = [f"{node}: {why}" for node, why in without.items()]
    done = bool(routed) and not without
    return RoutersSeen(done, "; ".join(states) or there, tuple(notes), tuple(routed), tuple(without))


def _fault(state: GuardState, destination: IPv4Network) -> str:
    """What is wrong with the way there; empty when nothing is."""
    way = state.ways.get(str(destination))
    if way == "tunnel":
        return ""
    if not state.address:
        return "wt0 has no address"
    if way == "elsewhere":
        return f"the way to {destination} leads by another interface than wt0"
    return f"no route to {destination} by wt0"


def _in_place(client: KubernetesClient, peer: str, destinations: Sequence[IPv4Network], sources: str) -> bool:
    try:
        there = client.request("GET", f"/apis/cilium.io/v2/ciliumegressgatewaypolicies/{egress_policy_name(peer)}")
    except KubernetesError as error:
        if error.status == 404:
            return False
        raise
    annotations = there["metadata"].get("annotations") or {}
    return bool(
        set(map(str, destinations)) <= set(there["spec"].get("destinationCIDRs", []))
        and annotations.get(SOURCES_ANNOTATION) == sources
    )


def _reason(wanted: RouteWanted, own: Mapping[str, str], netbird: NetbirdClient) -> str:
    try:
        networks = netbird.list("/networks")
        resources = {network["id"]: netbird.list(f"/networks/{network['id']}/resources") for network in networks}
        routers = {network["id"]: netbird.list(f"/networks/{network['id']}/routers") for network in networks}
        return why_no_route(
            cluster=wanted.cluster,
            peer=wanted.peer,
            destinations=wanted.destinations,
            own=own,
            peer_routers=wanted.peer_routers,
            peers=netbird.list("/peers"),
            networks=networks,
            resources=resources,
            routers=routers,
            policies=netbird.list("/policies"),
        )
    except NetbirdError as error:
        return f"NetBird can't be asked why ({error})"
