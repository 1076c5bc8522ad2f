"""The way over: which of a peer's routers gets the packets of this node. Pure, like the decision that it is part of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from keeper.config import Peer
from keeper.seen import UNNAMED, RouterSeen, Seen, fault_of

HOLD_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.4


@dataclass(frozen=True)
class SteerOver:
    """Give the peer's ranges to this router in the WireGuard device. ``move``: it is another one than before."""

    peer: str
    router: str
    move: bool
    reason: str


@dataclass(frozen=True)
class OverMemory:
    """``router`` is the one that has to have the ranges, None while that is NetBird's choice alone."""

    router: str | None = None
    moved_at: float | None = None
    asked_at: float | None = None


def decide_over(
    known: Peer, peer: str, memory: OverMemory, seen: Seen, *, settled: bool
) -> tuple[OverMemory, SteerOver | None, str]:
    """One look at one peer. A peer without keepers can't be asked: there NetBird alone chooses."""
    if known.port is None or peer not in seen.over:
        return memory, None, ""
    routers, holder = seen.routers.get(peer, {}), seen.over[peer]
    if holder == UNNAMED:
        # One that the peer has just taken, and whose address comes with this cluster's next `up`. Taken from it, the
        # ranges would be nobody's once NetBird drops the router that is named, since NetBird takes them for given.
        return replace(memory, router=None), None, f"packets for {peer} go to a router that keeper.json does not name"
    if memory.router not in known.routers:
        memory = replace(memory, router=None)
    wanted = memory.router
    if wanted is None or (holder not in (None, wanted) and not _usable(routers, wanted) and _usable(routers, holder)):
        # What NetBird has chosen, now or meanwhile.
        if wanted is not None:
            memory = replace(memory, moved_at=seen.now)
        wanted = holder
    memory = replace(memory, router=wanted)
    usable = [name for name in sorted(known.routers) if _usable(routers, name)]
    fault = _fault(routers, wanted) if wanted else ""
    if fault:
        if not usable:
            return memory, None, f"{fault}; no other router of {peer} is better"
        drained = wanted is not None and routers[wanted].good is True
        held = memory.moved_at is not None and seen.now - min(memory.moved_at, seen.now) < HOLD_SECONDS
        if not settled or (held and not drained):
            return memory, None, f"{fault}; held" if settled else fault
        memory = OverMemory(usable[0], moved_at=seen.now, asked_at=seen.now)
        return memory, SteerOver(peer, usable[0], move=True, reason=fault), ""
    if wanted is None:
        # Nobody has the ranges, and NetBird has the route: so it has lost sight of who could have them.
        if not usable or not seen.own.routed.get(peer, False):
            return memory, None, ""
        memory = replace(memory, router=usable[0])
        wanted = usable[0]
    asked = memory.asked_at is not None and 0 <= seen.now - memory.asked_at < AGAIN_SECONDS
    if holder == wanted or asked or not _good(routers, wanted):
        return memory, None, ""
    # Without NetBird's route the ranges are to go nowhere: a policy or a resource is gone.
    if holder is None and not seen.own.routed.get(peer, False):
        return memory, None, ""
    return (
        replace(memory, asked_at=seen.now),
        SteerOver(peer, wanted, move=False, reason="NetBird had it elsewhere"),
        "",
    )


def _good(routers: Mapping[str, RouterSeen], name: str | None) -> bool:
    router = routers.get(name) if name else None
    return router is not None and router.good is True


def _usable(routers: Mapping[str, RouterSeen], name: str | None) -> bool:
    return name is not None and _good(routers, name) and not routers[name].draining


def _fault(routers: Mapping[str, RouterSeen], name: str) -> str:
    """Why the router is to be left; empty while it is good, or nobody knows."""
    router = routers.get(name)
    if router is None:
        return ""
    if router.good is False:
        return fault_of(name, router)
    return f"{name} is drained" if router.draining and router.state == "alive" else ""
