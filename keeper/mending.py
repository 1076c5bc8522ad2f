"""Whether the own node is in order, and what is done when it is not. Pure.

What somebody took away and what is known to the byte is laid again: forwarding, NetBird's ip rules, its interface set
up and the routes that went with that, and its tables of nftables. What only NetBird's agent can lay, like chains of
iptables, needs the agent started anew. The barrier and the second packet filter are the guard's
(components/files/guard.sh).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from keeper.netlink import Interface, Route, Rule
from keeper.nftables import Piece, lost

FILTER_SECONDS: Final = 0.6
"""An agent that starts, or lays its filter again, has none for a moment."""
REFUSED_SECONDS: Final = 2.0
"""Where its tables were known, and the kernel has refused them so long."""
SILENT_SECONDS: Final = 1.0
"""After the first question that the agent has not answered within its time, where nothing comes through the tunnel
either. A busy machine's agent is late with an answer, and goes on carrying packets.
"""
MUTE_SECONDS: Final = 4.0
"""Where something comes, or nobody is there who would send: so long without an answer."""
UNHEARD_SECONDS: Final = 1.2
STUCK_SECONDS: Final = 5.0
"""Then an agent that does not answer is started anew."""
ROUTES_SECONDS: Final = 8.0
FIRST_WAIT_SECONDS: Final = 60.0
UNLED_SECONDS: Final = 60.0
"""How long a new interface counts as one that Cilium will still see, where it has seen none so far."""
UNTOLD_SECONDS: Final = 30.0
"""How long "it has not seen it" goes on meaning so where nothing can be told any more: after a boot Cilium's own
interface is there 10 to 12 s before its programs are in it (docs/evidence.md).
"""
LONGEST_WAIT_SECONDS: Final = 600.0
"""Between two starts of the agent, growing: where it does not help, it must not do harm."""

What = Literal["forwarding", "ip rules", "interface", "packet filter", "agent"]


@dataclass(frozen=True)
class NodeFacts:
    """What was found on the node. ``rules`` are NetBird's own, ``routes`` those of its table; ``filtering`` is whether
    nftables has chains of NetBird's, ``tables`` what those of a table of its own are; ``silent`` whether the agent has
    its socket open and does not answer; ``unheard`` since how many seconds nothing came through the tunnel; ``led``
    whether Cilium leads packets into the interface (:mod:`keeper.programs`).
    """

    forwarding: bool
    interface: Interface | None = None
    address: str = ""
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()
    filtering: bool = False
    tables: tuple[Piece, ...] = ()
    silent: bool = False
    unheard: float = 0.0
    led: bool | None = None


@dataclass(frozen=True)
class Mend:
    """What is to be laid again as it was, or nothing."""

    what: What
    reason: str
    rules: tuple[bytes, ...] = ()
    routes: tuple[bytes, ...] = ()
    tables: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class MendMemory:
    """What NetBird has laid with the interface that is there now, and since when what is wrong. ``led``: Cilium has led
    packets into this or an earlier one; ``unled_at``: when it was last seen to lead none, and has led none since.
    """

    index: int = 0
    there_since: float = 0.0
    led: bool = False
    unled_at: float | None = None
    was_up: bool = False
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()
    filtering: bool = False
    tables: tuple[Piece, ...] = ()
    since: dict[str, float] = field(default_factory=dict)
    started_at: float | None = None
    wait: float = FIRST_WAIT_SECONDS


def faults(interface: str, memory: MendMemory, facts: NodeFacts, now: float) -> tuple[str, ...]:
    """Why no packets get through by this node; empty when it is in order."""
    found = []
    if not facts.forwarding:
        found.append("net.ipv4.ip_forward is 0")
    if facts.interface is None:
        found.append(f"there is no {interface}")
    elif not facts.interface.up:
        found.append(f"{interface} is down")
    elif not facts.address:
        found.append(f"{interface} has no address")
    elif _unled(memory, facts, now):
        found.append(f"Cilium has not seen the new {interface} yet")
    if _stopped(memory, facts, now):
        found.append("NetBird's agent does not answer")
    if memory.filtering and not facts.filtering and facts.interface:
        found.append("NetBird's packet filter is gone")
    elif facts.interface and lost(memory.tables, facts.tables):
        found.append("parts of NetBird's packet filter are gone")
    return tuple(found)


def _unled(memory: MendMemory, facts: NodeFacts, now: float) -> bool:
    if facts.led is None:
        return memory.unled_at is not None and now - memory.unled_at < UNTOLD_SECONDS
    return not facts.led and (memory.led or now - memory.there_since < UNLED_SECONDS)


def _stopped(memory: MendMemory, facts: NodeFacts, now: float) -> bool:
    if not facts.silent:
        return False
    lasted = now - memory.since.get("silent", now)
    return lasted >= MUTE_SECONDS or (lasted >= SILENT_SECONDS and facts.unheard >= UNHEARD_SECONDS)


def mend(interface: str, memory: MendMemory, facts: NodeFacts, now: float) -> tuple[MendMemory, tuple[Mend, ...]]:
    """One look, and what is to be done after it."""
    index = facts.interface.index if facts.interface else 0
    if index and index != memory.index:
        # Another interface: NetBird lays all of it anew, and what was before counts no more.
        memory = MendMemory(
            index=index,
            there_since=now,
            led=memory.led,
            unled_at=memory.unled_at,
            started_at=memory.started_at,
            wait=memory.wait,
        )
    if facts.led:
        memory = replace(memory, led=True, unled_at=None)
    elif facts.led is False and (memory.led or now - memory.there_since < UNLED_SECONDS):
        memory = replace(memory, unled_at=now)
    actions: list[Mend] = []
    if not facts.forwarding:
        actions.append(Mend("forwarding", "net.ipv4.ip_forward was 0"))
    if facts.interface and not facts.interface.up and memory.was_up:
        routes = tuple(route.raw for route in memory.routes)
        actions.append(Mend("interface", f"{interface} was down", routes=routes))
    present = {(rule.priority, rule.table) for rule in facts.rules}
    gone = tuple(rule for rule in memory.rules if (rule.priority, rule.table) not in present)
    tables = lost(memory.tables, facts.tables)
    wrong = {
        "ip rules": bool(gone and facts.interface),
        "filter": bool((tables or (memory.filtering and not facts.filtering)) and facts.interface),
        "silent": facts.silent,
        "routes": bool(memory.routes and not facts.routes and facts.interface and facts.interface.up),
    }
    since = {name: memory.since.get(name, now) for name, is_wrong in wrong.items() if is_wrong}
    lasted = {name: now - at for name, at in since.items()}
    # Not in the first look: an agent that ends takes its rules away, and then its interface.
    if "ip rules" in memory.since and gone and facts.interface:
        actions.append(Mend("ip rules", "ip rules of NetBird were gone", rules=tuple(rule.raw for rule in gone)))
    filter_lasted = lasted.get("filter", 0.0)
    if tables and facts.interface and filter_lasted >= FILTER_SECONDS:
        actions.append(Mend("packet filter", "NetBird's packet filter was gone", tables=tables))
    reason = ""
    if filter_lasted >= (REFUSED_SECONDS if tables else FILTER_SECONDS):
        reason = "NetBird's packet filter was gone"
    elif lasted.get("silent", 0.0) >= STUCK_SECONDS:
        reason = "NetBird's agent did not answer"
    elif lasted.get("routes", 0.0) >= ROUTES_SECONDS:
        reason = "NetBird's routes were gone"
    memory = replace(memory, since=since)
    rested = memory.started_at is None or now - memory.started_at >= memory.wait
    if reason and rested:
        again = memory.started_at is not None and now - memory.started_at < 2 * LONGEST_WAIT_SECONDS
        wait = min(memory.wait * 2, LONGEST_WAIT_SECONDS) if again else FIRST_WAIT_SECONDS
        memory = replace(memory, started_at=now, wait=wait)
        actions.append(Mend("agent", reason))
    if not any(wrong.values()) and facts.forwarding and facts.interface and facts.interface.up and facts.address:
        memory = replace(
            memory,
            was_up=True,
            rules=facts.rules or memory.rules,
            routes=facts.routes or memory.routes,
            filtering=facts.filtering or memory.filtering,
            tables=facts.tables,
        )
    return memory, tuple(actions)
