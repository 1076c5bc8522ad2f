"""What a keeper says of itself: the content of /status, which ``up``, ``lab status`` and monitoring read. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keeper.config import Config
from keeper.conversation import Conversation
from keeper.decision import PeerView
from keeper.hearing import Hearing
from keeper.seen import UNNAMED, OwnSeen, RouterSeen
from keeper.wireguard import Device, WireGuardPeer


@dataclass
class Counts:
    """Since the start of the process."""

    moves: dict[str, Counter[str]] = field(default_factory=dict)
    mended: Counter[str] = field(default_factory=Counter)

    def moved(self, peer: str, way: str) -> None:
        """``way`` is out or over."""
        self.moves.setdefault(peer, Counter())[way] += 1


def peer_of(config: Config, device: Device | None, peer: str, router: str) -> WireGuardPeer | None:
    """The device's peer that is this router: the one that has its NetBird address."""
    address = config.peers[peer].routers.get(router)
    return next((tunnel for tunnel in device or () if f"{address}/32" in tunnel.allowed), None)


def over_of(config: Config, device: Device | None) -> dict[str, str | None]:
    """{peer: router that has all of the peer's ranges in the device}, empty when nobody can be asked. :data:`UNNAMED`
    where another one has any of them.
    """
    if device is None:
        return {}
    found: dict[str, str | None] = {}
    for peer, known in config.peers.items():
        routers = {router: tunnel for router in known.routers if (tunnel := peer_of(config, device, peer, router))}
        if any(other.allowed.intersection(known.ranges) for other in device if other not in routers.values()):
            found[peer] = UNNAMED
            continue
        found[peer] = next(
            (router for router, tunnel in routers.items() if tunnel.allowed.issuperset(known.ranges)), None
        )
    return found


def tunnels_of(config: Config, device: Device | None) -> dict[str, bool]:
    """{peer: whether something has come through the tunnels that have its ranges}, empty when nobody can be asked.
    NetBird has a route, and WireGuard a peer, some time before the two ends have shaken hands.
    """
    if device is None:
        return {}
    carried = {range_ for tunnel in device if tunnel.received for range_ in tunnel.allowed}
    return {peer: carried.issuperset(known.ranges) for peer, known in config.peers.items()}


def status(
    talk: Conversation,
    own: OwnSeen,
    views: Mapping[str, PeerView],
    device: Device | None,
    counts: Counts,
    problems: Mapping[str, str],
) -> dict[str, Any]:
    """``problems`` is {what does not work for the keeper itself: why}."""
    config = talk.config
    seen = talk.routers_seen()
    return {
        "version": 1,
        "cluster": config.cluster,
        "node": talk.node,
        "ok": own.ok,
        "reasons": list(own.reasons),
        "draining": own.draining,
        "siblings": {
            name: {"state": hearing.state, "ok": hearing.last.ok if hearing.last else None}
            for name, hearing in talk.siblings.items()
        },
        "peers": {
            peer: _peer(config, peer, views.get(peer), device, own, talk.routers.get(peer, {}), seen.get(peer, {}))
            for peer in config.peers
        },
        "moves": {peer: dict(ways) for peer, ways in counts.moves.items()},
        "mended": dict(counts.mended),
        "problems": {name: text for name, text in problems.items() if text},
    }


def spoken(own: OwnSeen, views: Mapping[str, PeerView], tunnels: Mapping[str, bool]) -> str:
    """The line of the log that ``up`` reads when a link does not come up, and before it leads one to a router that is
    new (domain/keeper.py). What is not known yet is not good yet; ``tunnels`` is :func:`tunnels_of`.
    """
    said = {
        "self_ok": own.ok is True,
        "self_reasons": list(own.reasons),
        "peers": {
            peer: {
                "good": view.own.good is True,
                "reason": view.own.reason,
                "out": view.out,
                "over": view.over,
                **({"tunnel": tunnels[peer]} if peer in tunnels else {}),
            }
            for peer, view in sorted(views.items())
        },
    }
    return f"STATUS {json.dumps(said, separators=(',', ':'))}"


def _peer(
    config: Config,
    peer: str,
    view: PeerView | None,
    device: Device | None,
    own: OwnSeen,
    hearings: Mapping[str, Hearing],
    seen: Mapping[str, RouterSeen],
) -> dict[str, Any]:
    known = config.peers[peer]
    holders = {}
    for range_ in known.ranges:
        for router in known.routers:
            tunnel = peer_of(config, device, peer, router)
            if tunnel and range_ in tunnel.allowed:
                holders[range_] = router
    return {
        "good": view.own.good if view else None,
        "reason": "; ".join(filter(None, (view.own.reason, view.reason))) if view else "",
        "out": view.out if view else None,
        "over": holders,
        "routed": own.routed.get(peer),
        "keeper": known.port is not None,
        "routers": {
            router: {
                "good": seen[router].good if router in seen else None,
                "state": hearings[router].state if router in hearings else "unknown",
                "draining": seen[router].draining if router in seen else False,
                "rtt_ms": _milliseconds(hearings.get(router)),
                "loss": round(hearings[router].loss, 3) if router in hearings else 0.0,
                "relayed": tunnel.relayed
                if (tunnel := peer_of(config, device, peer, router)) and tunnel.endpoint
                else None,
            }
            for router in known.routers
        },
    }


def _milliseconds(hearing: Hearing | None) -> float | None:
    if hearing is None or hearing.round_trip_seconds is None:
        return None
    return round(hearing.round_trip_seconds * 1000, 2)
