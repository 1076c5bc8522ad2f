"""What a keeper does about what it sees. Pure: memory and what is seen in, memory and actions out.

Each keeper decides for its own node alone. The way out (which node the egress policy names) it takes over from a node
that is dead, not in order or drained, when it is itself in order and the first of those that are.
The way over (which of a peer's routers gets the packets) it chooses for itself. Both stay where they are as long as
they work: nothing goes back by itself, nothing moves twice within the hold, nothing moves when there is nobody better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from keeper.config import Config
from keeper.over import OverMemory, SteerOver, decide_over
from keeper.seen import Judged, PolicySeen, Seen, judge_self, judge_sibling

HOLD_SECONDS: Final = 10.0
"""After a move the link stays, whoever moved it; only a drain goes past it."""
CONTESTED_SECONDS: Final = 300.0
"""Somebody of whom nothing is heard took the policy: so it lives, and only the network between us does not."""
SILENT_SECONDS: Final = 0.2
UNKNOWN_SECONDS: Final = 180.0
"""A node that keeper.json does not name may be a router of a later one: an `up` names it in the policy before the
kubelet has brought the file. One that is to go is left by the `up` itself.
"""
FAULT_SECONDS: Final = 0.3
"""A node that says itself that it is not in order."""
REACH_SECONDS: Final = 1.2
"""A node that reaches no router of the peer. When those die we see it in different rounds, and who sees it later must
not think for that long that it is better: a round of probes, four times.
"""
RANK_SECONDS: Final = 2.0
"""The second in the order of names waits that much longer: the first may not reach the API server."""
SETTLE_SECONDS: Final = 3.0
"""Nobody is judged that soon after the start."""
ASLEEP_SECONDS: Final = 1.0
"""A keeper that has not decided for so long was not running, and first has to see anew."""
AWAKE_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 1.0
"""An order that shows no effect is given again."""
STAMP_SECONDS: Final = 5.0


@dataclass(frozen=True)
class NamePolicy:
    """Make the policy of the peer name this node, if its version is still the one that was seen.

    ``move`` is whether packets go another way by it. ``stamp`` goes with it: a changed policy is what makes Cilium look
    at the tunnel's interface again.
    """

    peer: str
    node: str | None
    version: str
    stamp: str
    move: bool
    reason: str


Action = NamePolicy | SteerOver


@dataclass(frozen=True)
class PeerMemory:
    """Of one link. ``out`` is the node that it leaves by as last seen, which has been worse than the own node since
    ``worse_since``.
    """

    out: str | None = None
    moved_at: float | None = None
    contested_at: float | None = None
    worse_since: float | None = None
    asked_at: float | None = None
    over: OverMemory = field(default_factory=OverMemory)


@dataclass(frozen=True)
class Memory:
    """What lasts from one decision to the next. A keeper starts with an empty one."""

    last: float | None = None
    settled_at: float = 0.0
    peers: Mapping[str, PeerMemory] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerView:
    """What this keeper thinks of one link: of itself, the way out, the way over."""

    own: Judged
    out: str | None
    over: str | None
    reason: str = ""
    """Why it does not leave a way out or over that is not good."""


@dataclass(frozen=True)
class Decision:
    """What is to be done, in this order, and how each link stands."""

    actions: tuple[Action, ...]
    views: Mapping[str, PeerView]


def decide(config: Config, me: str, memory: Memory, seen: Seen) -> tuple[Memory, Decision]:
    """One look. Called several times a second; what it says twice is done twice and does no harm."""
    peers = dict(memory.peers)
    settled_at = memory.settled_at
    if memory.last is None:
        settled_at = seen.now + SETTLE_SECONDS
    elif not 0 <= seen.now - memory.last <= ASLEEP_SECONDS:
        settled_at = max(min(settled_at, seen.now), seen.now + AWAKE_SECONDS)
        peers = {name: replace(peer, worse_since=None) for name, peer in peers.items()}
    settled = seen.now >= settled_at
    actions: list[Action] = []
    views: dict[str, PeerView] = {}
    kept: dict[str, PeerMemory] = {}
    for peer in sorted(config.peers):
        own = judge_self(config, me, seen, peer)
        over, steered, over_reason = decide_over(
            config.peers[peer], peer, peers.get(peer, PeerMemory()).over, seen, settled=settled
        )
        remembered, named, reason = _decide_out(
            config, me, peer, replace(peers.get(peer, PeerMemory()), over=over), seen, own, settled=settled
        )
        kept[peer] = remembered
        actions += [action for action in (named, steered) if action is not None]
        views[peer] = PeerView(own, remembered.out, over.router, "; ".join(filter(None, (reason, over_reason))))
    return Memory(seen.now, settled_at, kept), Decision(tuple(actions), views)


def _decide_out(
    config: Config, me: str, peer: str, memory: PeerMemory, seen: Seen, own: Judged, *, settled: bool
) -> tuple[PeerMemory, NamePolicy | None, str]:
    policy = seen.policies.get(peer)
    if policy is None or me not in config.routers:
        return replace(memory, worse_since=None), None, ""
    # A policy that names nobody takes the first labelled node by name (Cilium's pkg/egressgateway/manager.go).
    out = policy.node or min(config.routers)
    memory = _notice(memory, me, out, seen)
    asked = memory.asked_at is not None and 0 <= seen.now - memory.asked_at < AGAIN_SECONDS
    if out == me:
        memory = replace(memory, worse_since=None)
        if asked or own.good is not True or seen.own.draining:
            return memory, None, "" if own.good is not False else f"{own.reason}; nobody better has taken it"
        named = _keep(config, me, peer, memory, policy, seen)
        return (replace(memory, asked_at=seen.now) if named else memory), named, ""
    fault = _fault(config, peer, out, seen)
    if fault is None:
        return replace(memory, worse_since=None), None, ""
    reason, patience, urgent = fault
    if own.good is not True or seen.own.draining:
        # When all are bad, and the peer comes back, the one who sees it first must not be the one who takes it.
        return (
            replace(memory, worse_since=None),
            None,
            f"{reason}; {me} is no better" + (f" ({own.reason})" if own.reason else ""),
        )
    since = seen.now if memory.worse_since is None else min(memory.worse_since, seen.now)
    memory = replace(memory, worse_since=since)
    rank = sum(
        judge_sibling(seen, name, peer).good is True for name in config.routers if name < me and name not in (out, me)
    )
    if seen.now - since < patience + rank * RANK_SECONDS or not settled or asked:
        return memory, None, reason
    if not urgent and memory.moved_at is not None and seen.now - min(memory.moved_at, seen.now) < HOLD_SECONDS:
        return memory, None, f"{reason}; held, because the link has just moved"
    contested = memory.contested_at
    if not urgent and contested is not None and seen.now - min(contested, seen.now) < CONTESTED_SECONDS:
        return memory, None, f"{reason}, but it took over a while ago: it lives, and is not heard from here"
    action = NamePolicy(peer, me, policy.version, seen.own.stamp, move=True, reason=reason)
    return replace(memory, asked_at=seen.now), action, reason


def _notice(memory: PeerMemory, me: str, out: str, seen: Seen) -> PeerMemory:
    """What has changed since the last look, whoever did it."""
    sibling = seen.siblings.get(out)
    if memory.out not in (None, out):
        unheard = memory.out == me and sibling is not None and sibling.state == "dead"
        memory = replace(memory, moved_at=seen.now, worse_since=None, contested_at=seen.now if unheard else None)
    if sibling is not None and sibling.state == "alive":
        memory = replace(memory, contested_at=None)
    return replace(memory, out=out)


Fault = tuple[str, float, bool]
"""The reason, how long it has to last, and whether it goes past the hold."""


def _fault(config: Config, peer: str, out: str, seen: Seen) -> Fault | None:
    if out not in config.routers:
        return f"{out} is no router any more", UNKNOWN_SECONDS, False
    judged = judge_sibling(seen, out, peer)
    if judged.good is not False:
        return None
    sibling = seen.siblings[out]
    if sibling.state == "alive" and sibling.draining:
        return judged.reason, 0.0, True
    if sibling.state == "dead":
        return judged.reason, SILENT_SECONDS, False
    if sibling.ok is False:
        return judged.reason, FAULT_SECONDS, False
    return judged.reason, REACH_SECONDS, False


def _keep(config: Config, me: str, peer: str, memory: PeerMemory, policy: PolicySeen, seen: Seen) -> NamePolicy | None:
    """The policy is here and may stay. It gets this node's name when there are others, and the interface's stamp."""
    nameless = policy.node is None and len(config.routers) > 1
    if not nameless and policy.stamp == seen.own.stamp:
        return None
    if memory.asked_at is not None and not nameless and 0 <= seen.now - memory.asked_at < STAMP_SECONDS:
        return None
    node = me if nameless else None
    reason = "it names no node yet" if nameless else "the tunnel's interface is a new one"
    return NamePolicy(peer, node, policy.version, seen.own.stamp, move=False, reason=reason)
