"""Who this keeper talks to and what it has heard of them. No sockets and no clock: datagrams are handed in and out.

Siblings send each other a beat in every round. Routers of peers are probed in rounds of their own, and answer; the
answer says whether they are in order and which of our routers they see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from keeper.config import Config
from keeper.hearing import ROUTER, SIBLING, Hearing
from keeper.messages import Kind, Message, NotOurs, decode, encode
from keeper.seen import RouterSeen, SiblingSeen
from keeper.through import Through

BEAT_SECONDS: Final = 0.2
PROBE_SECONDS: Final = 0.25
THROUGH_ROUNDS: Final = 2
"""Rounds of probes to a round of questions through a router."""

Send = Callable[[bytes, str, int], None]
"""datagram, address, port"""


@dataclass(frozen=True)
class Self:
    """What the own node says of itself: see :class:`keeper.messages.Message`."""

    ok: bool | None = None
    draining: bool = False
    good: Mapping[str, bool | None] = field(default_factory=dict)


class Conversation:
    """``siblings`` is {node: Hearing}, ``routers`` {peer: {router: Hearing}} without peers that have no keepers."""

    def __init__(self, config: Config, *, node: str, key: bytes, boot: str, to_sibling: Send, to_router: Send) -> None:
        self.node, self._key, self._boot = node, key, boot
        self._to_sibling, self._to_router = to_sibling, to_router
        self._sequence = 0
        self.siblings: dict[str, Hearing] = {}
        self.routers: dict[str, dict[str, Hearing]] = {}
        self.throughs: dict[tuple[str, str], Through] = {}
        self.inner = ""
        """The own address in the pod range, empty without one."""
        self._rounds = 0
        self.myself = Self()
        self.take(config)

    def take(self, config: Config) -> None:
        """From now on this is the configuration. What was heard of those who stay is kept."""
        self.config = config
        self.siblings = {
            name: self.siblings.get(name) or Hearing(SIBLING) for name in config.routers if name != self.node
        }
        self.routers = {
            peer: {name: self.routers.get(peer, {}).get(name) or Hearing(ROUTER) for name in known.routers}
            for peer, known in config.peers.items()
            if known.port is not None
        }
        self.throughs = {
            at: way for at, way in self.throughs.items() if at[0] in self.routers and at[1] in self.routers[at[0]]
        }

    # --- out ----------------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """A round of beats to the siblings."""
        for name, hearing in self.siblings.items():
            hearing.next_round()
            self._beat_to(name)

    def beat_at_once(self) -> None:
        """A beat outside the rounds: something is new."""
        for name in self.siblings:
            self._beat_to(name)

    def _beat_to(self, name: str) -> None:
        message = self._message("beat", good=self.myself.good)
        self._to_sibling(encode(message, self._key), self.config.routers[name], self.config.port)

    def probe(self, now: float, over: Mapping[str, str | None] | None = None) -> None:
        """A round of probes to the peers' routers; ``over`` is the one of each peer that gets the packets."""
        self._rounds += 1
        if self._rounds % THROUGH_ROUNDS == 0:
            self._ask_through(over or {})
        for peer, routers in self.routers.items():
            known = self.config.peers[peer]
            for name, hearing in routers.items():
                hearing.next_round()
                message = self._message("probe")
                hearing.sent(message.sequence, now)
                if known.port is not None:
                    self._to_router(encode(message, None), known.routers[name], known.port)

    def _ask_through(self, over: Mapping[str, str | None]) -> None:
        """Keepers behind the routers in use."""
        for peer, routers in self.routers.items():
            known = self.config.peers[peer]
            for name, hearing in routers.items():
                way = self.throughs.setdefault((peer, name), Through())
                if name != over.get(peer) or hearing.state != "alive" or hearing.last is None:
                    way.rest()
                    continue
                inside = [address for address in hearing.last.beyond if _within(address, known.ranges)]
                way.next_round(min(inside, default=""))
                if way.target and known.port is not None:
                    message = self._message("through")
                    way.asked(message.sequence)
                    self._to_router(encode(message, None), way.target, known.port)

    def tell_routers(self) -> None:
        """An answer that nobody asked for: something is new, and the peers need not wait until they ask."""
        for peer, routers in self.routers.items():
            known = self.config.peers[peer]
            message = self._message("answer", sees=self.sees(peer), beyond=self._beyond())
            for name in routers:
                if known.port is not None:
                    self._to_router(encode(message, None), known.routers[name], known.port)

    def _message(
        self,
        kind: Kind,
        *,
        good: Mapping[str, bool | None] | None = None,
        sees: Mapping[str, bool] | None = None,
        echo: tuple[str, int] | None = None,
        beyond: tuple[str, ...] = (),
    ) -> Message:
        self._sequence += 1
        return Message(
            kind=kind,
            cluster=self.config.cluster,
            node=self.node,
            boot=self._boot,
            sequence=self._sequence,
            ok=self.myself.ok,
            draining=self.myself.draining,
            good=good or {},
            sees=sees or {},
            echo=echo,
            inner=self.inner if kind == "beat" else "",
            beyond=beyond,
            unwell=self._unwell() if kind == "answer" else (),
        )

    def _unwell(self) -> tuple[str, ...]:
        return tuple(
            name
            for name, hearing in self.siblings.items()
            if hearing.state == "alive" and hearing.last and hearing.last.ok is False
        )

    def _beyond(self) -> tuple[str, ...]:
        """Where siblings that are heard, and in order, can be asked."""
        return tuple(
            sorted(
                hearing.last.inner
                for hearing in self.siblings.values()
                if hearing.state == "alive" and hearing.last and hearing.last.inner and hearing.last.ok
            )
        )

    # --- in -----------------------------------------------------------------------------------------------------------

    def from_sibling(self, data: bytes, address: str, now: float) -> None:
        """A datagram that came by the nodes' own network."""
        try:
            message = decode(data, self._key)
        except NotOurs:
            return
        hearing = self.siblings.get(message.node)
        # The address as well: a sibling speaks for itself alone.
        if (
            hearing is None
            or message.kind != "beat"
            or message.cluster != self.config.cluster
            or self.config.routers[message.node] != address
        ):
            return
        before = self._unwell()
        hearing.hear(message, now)
        if self._unwell() != before:
            self.tell_routers()

    def from_router(self, data: bytes, address: str, now: float) -> None:
        """A datagram that came through the tunnel: a probe, which is answered, or an answer."""
        peer = self.config.cluster_at(address)
        known = self.config.peers.get(peer) if peer else None
        try:
            message = decode(data, None)
        except NotOurs:
            return
        if peer is None and message.kind == "answer" and message.echo and message.echo[0] == self._boot:
            self._hear_through(address, message.echo[1])
            return
        if (
            peer is None
            or known is None
            or known.port is None
            or message.cluster != peer
            or known.routers.get(message.node) != address
        ):
            return
        if message.kind == "probe":
            # To the port that the configuration names: nobody makes a keeper send to where he likes.
            answer = self._message(
                "answer", sees=self.sees(peer), echo=(message.boot, message.sequence), beyond=self._beyond()
            )
            self._to_router(encode(answer, None), address, known.port)
        elif message.kind == "answer" and (message.echo is None or message.echo[0] == self._boot):
            self.routers[peer][message.node].hear(message, now)

    def _hear_through(self, address: str, sequence: int) -> None:
        for way in self.throughs.values():
            if way.hear(address, sequence):
                return

    def from_inside(self, data: bytes, address: str, port: int, answer: Send) -> None:
        """A question that came to the address in the pod range, by a router of this cluster; its sender is a peer's."""
        try:
            message = decode(data, None)
        except NotOurs:
            return
        ours = address in self.config.routers.values() or _within(address, (self.config.pod_cidr,))
        if not ours or message.kind != "through" or message.cluster not in self.config.peers:
            return
        # To whom it came from, whatever its port: the router may have given it another.
        answer(encode(self._message("answer", echo=(message.boot, message.sequence)), None), address, port)

    def refused_by_sibling(self, address: str) -> None:
        """The node at this address says that nobody listens."""
        for name, hearing in self.siblings.items():
            if self.config.routers[name] == address:
                hearing.refuse()

    def refused_by_router(self, address: str) -> None:
        """The router at this NetBird address says that nobody listens."""
        for peer, routers in self.routers.items():
            for name, hearing in routers.items():
                if self.config.peers[peer].routers[name] == address:
                    hearing.refuse()

    # --- what it means ------------------------------------------------------------------------------------------------

    def sees(self, peer: str) -> dict[str, bool]:
        """{router of the peer: whether it is in order, as seen from here}, without those not judged yet."""
        found = {}
        for name in self.routers.get(peer, {}):
            if (good := self._router(peer, name).good) is not None:
                found[name] = good
        return found

    def siblings_seen(self) -> dict[str, SiblingSeen]:
        """What the siblings say."""
        return {
            name: SiblingSeen(hearing.state, last.ok, last.draining, last.good)
            if (last := hearing.last)
            else SiblingSeen(hearing.state)
            for name, hearing in self.siblings.items()
        }

    def routers_seen(self) -> dict[str, dict[str, RouterSeen]]:
        """What the peers' routers say."""
        return {peer: {name: self._router(peer, name) for name in routers} for peer, routers in self.routers.items()}

    def _router(self, peer: str, name: str) -> RouterSeen:
        hearing, way = self.routers[peer][name], self.throughs.get((peer, name))
        if hearing.last is None:
            return RouterSeen(hearing.state)
        last, passes = hearing.last, way is None or not way.bad
        others = (other for at, other in self.routers[peer].items() if at != name)
        unwell = any(other.state == "alive" and other.last and name in other.last.unwell for other in others)
        return RouterSeen(hearing.state, False if unwell else last.ok, last.draining, last.sees, passes)


def _within(address: str, ranges: Iterable[str]) -> bool:
    return any(IPv4Address(address) in IPv4Network(range_) for range_ in ranges)
