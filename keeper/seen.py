"""What a keeper sees at one moment: data, and what it means for one link. No clock, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from keeper.config import Config
from keeper.hearing import State


@dataclass(frozen=True)
class SiblingSeen:
    """What a sibling said last, and whether it is still heard: see :class:`keeper.messages.Message`."""

    state: State
    ok: bool | None = None
    draining: bool = False
    good: Mapping[str, bool | None] = field(default_factory=dict)

    def takes_over(self, peers: Iterable[str]) -> bool:
        """Whether it would take a drained router's place on the links to these peers."""
        return self.state == "alive" and self.ok is True and not self.draining and all(self.good.get(p) for p in peers)


Drain = Literal["begins", "waits", "nobody follows"]


@dataclass(frozen=True)
class RouterSeen:
    """A peer's router. ``sees`` is {router of this cluster: whether that one sees it in order}; ``passes`` is False
    when nothing comes back from behind it.
    """

    state: State
    ok: bool | None = None
    draining: bool = False
    sees: Mapping[str, bool] = field(default_factory=dict)
    passes: bool = True

    @property
    def good(self) -> bool | None:
        """Whether it is reached and in order. One that doesn't know yet, or is away, is as it was."""
        if self.state == "dead" or not self.passes:
            return False
        return None if self.state == "unknown" else self.ok


@dataclass(frozen=True)
class PolicySeen:
    """An egress policy. ``node`` is the one that it names, None while it names none; ``stamp`` is what was left there
    by the keeper of that node (:class:`OwnSeen`).
    """

    node: str | None
    version: str
    stamp: str = ""


@dataclass(frozen=True)
class OwnSeen:
    """The own node. ``ok`` is None until it was looked at. ``stamp`` is another one whenever the tunnel's interface is
    another one. ``routed`` is {peer: whether NetBird has a route to its ranges here}.
    """

    ok: bool | None = None
    reasons: tuple[str, ...] = ()
    draining: bool = False
    stamp: str = ""
    routed: Mapping[str, bool] = field(default_factory=dict)


UNNAMED: Final = "?"
"""Instead of a router's name: one that NetBird knows and keeper.json does not, or not yet. No node is called so."""


@dataclass(frozen=True)
class Seen:
    """All of it. ``now`` is in seconds of a clock that is never set. ``over`` is {peer: router that WireGuard sends the
    peer's ranges to, :data:`UNNAMED` where that is none of keeper.json, None where no router has them all}, without
    peers of which that is not known.
    """

    now: float
    own: OwnSeen = field(default_factory=OwnSeen)
    siblings: Mapping[str, SiblingSeen] = field(default_factory=dict)
    routers: Mapping[str, Mapping[str, RouterSeen]] = field(default_factory=dict)
    policies: Mapping[str, PolicySeen] = field(default_factory=dict)
    over: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """A verdict, None while nobody knows, and the reason of one that is not true."""

    good: bool | None
    reason: str = ""


def judge_self(config: Config, me: str, seen: Seen, peer: str) -> Judged:
    """Whether pods' packets for the peer get through by this node."""
    own, known = seen.own, config.peers[peer]
    if own.ok is not True:
        text = "; ".join(own.reasons) or ("nobody has looked yet" if own.ok is None else "not in order")
        return Judged(own.ok, f"{me}: {text}")
    # A peer without keepers: its routers come and go for NetBird alone, here and at a sibling at different moments.
    if known.port is None:
        return Judged(True)
    routers = seen.routers.get(peer, {})
    if not known.routers:
        return Judged(False, f"{peer} has no router")
    verdicts = {name: router.good for name, router in routers.items()}
    if not any(verdicts.values()):
        if None in verdicts.values() or not verdicts:
            return Judged(None, f"no answer of {peer} yet")
        return Judged(False, "; ".join(fault_of(name, router) for name, router in sorted(routers.items())))
    if not seen.own.routed.get(peer, True):
        return Judged(False, f"NetBird gives {me} no route to {', '.join(known.ranges)}, though {peer} is reached")
    return Judged(True)


def fault_of(name: str, router: RouterSeen) -> str:
    """Why a router is not good."""
    if router.state == "dead":
        return f"{name} does not answer"
    return f"{name} says that it is not in order" if router.ok is False else f"{name} passes nothing on"


def judge_sibling(seen: Seen, name: str, peer: str) -> Judged:
    """Whether pods' packets for the peer get through by that sibling, as far as one can know from here."""
    sibling = seen.siblings.get(name, SiblingSeen("unknown"))
    views = [
        router.sees[name]
        for router in seen.routers.get(peer, {}).values()
        if router.state == "alive" and name in router.sees
    ]
    if sibling.state == "unknown":
        return Judged(None, f"{name} is not heard yet")
    if sibling.state == "dead":
        # The network between us may be cut. Who of the peer reaches it through the tunnel knows that it lives.
        if any(views):
            return Judged(True)
        return Judged(False, f"{name} is silent")
    if sibling.state == "away" and views and not any(views):
        return Judged(False, f"the keeper of {name} is away, and {peer} does not reach it")
    if sibling.draining:
        return Judged(False, f"{name} is drained")
    if sibling.ok is False:
        return Judged(False, f"{name} says that it is not in order")
    if sibling.good.get(peer) is False:
        return Judged(False, f"{name} reaches no router of {peer}")
    return Judged(None if sibling.ok is None else sibling.good.get(peer))


def drain(own: OwnSeen, good: Mapping[str, bool | None], siblings: Mapping[str, SiblingSeen]) -> Drain:
    """What becomes of a drain of the own node; ``good`` are its links. It waits where another keeper lives and its node
    is not ready yet, as the one that was started anew just before in a rollout.
    """
    carried = [peer for peer, is_good in good.items() if is_good]
    if any(sibling.takes_over(carried) for sibling in siblings.values()):
        return "begins"
    waits = own.ok and carried and any(sibling.state == "alive" for sibling in siblings.values())
    return "waits" if waits else "nobody follows"
