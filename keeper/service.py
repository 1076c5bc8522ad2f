"""The process: its loops, its sockets, and the end. It sees, lets decide, and does."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

from keeper import http_face, metrics, report, wireguard
from keeper.config import Config, ConfigFile
from keeper.conversation import BEAT_SECONDS, PROBE_SECONDS, Conversation, Self
from keeper.decision import Decision, Memory, NamePolicy, decide
from keeper.doing import Doing
from keeper.http_face import Answer
from keeper.mending import MendMemory, NodeFacts, faults, mend
from keeper.netlink import Changes
from keeper.own_node import OwnNode
from keeper.seen import OwnSeen, Seen, drain
from keeper.wire import Wire
from keeper.wireguard import Device

LOOK_SECONDS: Final = 0.5
CALM_SECONDS: Final = 0.05
"""Pods that come and go change interfaces and routes; that many looks a second are enough."""
CONFIG_SECONDS: Final = 2.0
API_SECONDS: Final = 2.0
DRAIN_SECONDS: Final = 120.0
"""A drain that nothing follows ends by itself."""
FOR_OTHERS: Final = {("GET", "/healthz"), ("GET", "/metrics")}
"""What is given at the node's address."""


@dataclass(frozen=True)
class Place:
    """Where it runs: its node, the siblings' key, the port of its HTTP face, the folder of WireGuard's sockets."""

    node: str
    key: bytes
    http_port: int = http_face.PORT
    sockets: Path = wireguard.SOCKETS


class Keeper:
    """One process on one router node."""

    def __init__(self, place: Place, file: ConfigFile, config: Config, doing: Doing) -> None:
        self._place, self._file, self._doing = place, file, doing
        self._node = OwnNode(place.sockets)
        self._changes = Changes()
        self._changed = asyncio.Event()
        self._talk = Conversation(
            config,
            node=place.node,
            key=place.key,
            boot=secrets.token_hex(8),
            to_sibling=lambda *datagram: self._siblings_wire.send(*datagram) if self._siblings_wire else None,
            to_router=lambda *datagram: self._tunnel_wire.send(*datagram) if self._tunnel_wire else None,
        )
        self._siblings_wire: Wire | None = None
        self._tunnel_wire: Wire | None = None
        self._inner_wire: Wire | None = None
        self._tunnel_heard_at = time.monotonic()
        self._tunnel_index = 0
        self._own = OwnSeen()
        self._facts = NodeFacts(forwarding=True)
        self._device: Device | None = None
        self._memory = Memory()
        self._mend_memory = MendMemory()
        self._decision = Decision((), {})
        self._face: tuple[str, asyncio.AbstractServer] | None = None
        """Where the metrics are given besides the loopback."""
        self._drained: tuple[float, int] | None = None
        """Since when, and the index of the tunnel's interface at that moment."""

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; returns the exit code."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_reader(self._changes, self._something_changed)
        server = await http_face.serve(self._routes(), port=self._place.http_port)
        tasks = [
            asyncio.create_task(self._every(BEAT_SECONDS, self._beat)),
            asyncio.create_task(self._every(PROBE_SECONDS, self._probe)),
            asyncio.create_task(self._every(CONFIG_SECONDS, self._read_config)),
            asyncio.create_task(self._looks()),
            asyncio.create_task(self._doing.watch_policies(API_SECONDS, lambda: self._talk.config)),
        ]
        stopped = asyncio.create_task(stop.wait())
        # A loop that ends has failed: then the process ends as well, and the kubelet starts it anew.
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *tasks):
            task.cancel()
        server.close()
        if self._face:
            self._face[1].close()
        for wire in (self._siblings_wire, self._tunnel_wire, self._inner_wire):
            if wire:
                wire.close()
        for task in done - {stopped}:
            task.result()
        return 0

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """Acts in rounds. A round that comes late does not bring the next one nearer."""
        while True:
            await act()
            await asyncio.sleep(seconds)

    # --- rounds -------------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        config = self._talk.config
        self._siblings_wire = self._wire(
            self._siblings_wire,
            config.routers.get(self._place.node, ""),
            config.port,
            heard=lambda data, address, _: self._talk.from_sibling(data, address, time.monotonic()),
            refused=self._talk.refused_by_sibling,
        )
        self._decide()
        self._talk.beat()

    async def _probe(self) -> None:
        self._decide()
        self._talk.probe(time.monotonic(), report.over_of(self._talk.config, self._device))

    async def _read_config(self) -> None:
        if (config := self._file.changed()) is not None:
            self._talk.take(config)
            self._doing.wake()
            self._doing.log(f"keeper.json is read anew: {len(config.routers)} routers, {len(config.peers)} peers")
        self._doing.problem("keeper.json", self._file.problem)
        await self._open_face()

    async def _open_face(self) -> None:
        """The metrics at the node's address, as the file says now. Only they: no drain, and nothing that it thinks."""
        config = self._talk.config
        wanted = config.routers.get(self._place.node, "") if config.metrics else ""
        if wanted == (self._face[0] if self._face else ""):
            return
        if self._face:
            self._face[1].close()
            self._face = None
        problem = ""
        if wanted:
            routes = {key: route for key, route in self._routes().items() if key in FOR_OTHERS}
            try:
                self._face = (wanted, await http_face.serve(routes, wanted, self._place.http_port))
            except OSError as error:
                problem = f"{wanted}:{self._place.http_port}: {error}"
        self._doing.problem("metrics", problem)

    async def _looks(self) -> None:
        while True:
            self._changed.clear()
            await self._look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
                await asyncio.sleep(CALM_SECONDS)

    def _something_changed(self) -> None:
        self._changes.take()
        self._changed.set()

    # --- the own node -------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        config = self._talk.config
        facts, self._device = await self._node.look(config.interface)
        if self._mend(config.interface, facts):
            # What is put right at once nobody else has to hear of: the link stays where it is.
            facts, self._device = await self._node.look(config.interface)
        facts = self._facts = replace(facts, unheard=time.monotonic() - self._tunnel_heard_at)
        index = facts.interface.index if facts.interface else 0
        reasons = faults(config.interface, self._mend_memory, facts, time.monotonic())
        if self._drained is not None and (
            time.monotonic() - self._drained[0] > DRAIN_SECONDS or (index != self._drained[1] and not reasons)
        ):
            self._drained = None
            self._doing.log("the drain is over")
        own = OwnSeen(
            ok=not reasons,
            reasons=reasons,
            draining=self._drained is not None,
            stamp=f"{self._place.node} {index} {facts.address}",
            routed={
                peer: bool(index) and self._node.routed(known.ranges, index) for peer, known in config.peers.items()
            },
        )
        self._open_tunnel_wire(index)
        self._open_inner_wire()
        self._become(own)
        self._doing.speak(report.spoken(own, self._decision.views, report.tunnels_of(config, self._device)))

    def _mend(self, interface: str, facts: NodeFacts) -> bool:
        """Puts right what can be put right here; whether anything was."""
        self._mend_memory, actions = mend(interface, self._mend_memory, facts, time.monotonic())
        mended = False
        for action in actions:
            if action.what == "agent":
                self._doing.restart_agent(action)
                continue
            try:
                self._node.mend(action, interface)
            except OSError as error:
                self._doing.problem(action.what, f"{action.reason}, and could not be put right: {error}")
            else:
                self._doing.problem(action.what, "")
                self._doing.mended(action)
                mended = True
        return mended

    def _open_tunnel_wire(self, index: int) -> None:
        config = self._talk.config
        up = index and self._facts.interface is not None and self._facts.interface.up
        if index != self._tunnel_index and self._tunnel_wire:
            self._tunnel_wire.close()
            self._tunnel_wire = None
        self._tunnel_index = index
        self._tunnel_wire = self._wire(
            self._tunnel_wire,
            self._facts.address if up else "",
            config.port,
            heard=self._from_router,
            refused=self._talk.refused_by_router,
            interface=config.interface,
        )

    def _from_router(self, data: bytes, address: str, _port: int) -> None:
        self._tunnel_heard_at = time.monotonic()
        self._talk.from_router(data, address, self._tunnel_heard_at)

    def _open_inner_wire(self) -> None:
        """For peers' keepers that ask through a router of this cluster."""
        config = self._talk.config
        address = self._node.inner_address(config.pod_cidr)
        self._inner_wire = self._wire(
            self._inner_wire,
            address,
            config.port,
            heard=lambda data, sender, port: self._talk.from_inside(data, sender, port, self._to_inside),
            refused=lambda _: None,
            called="UDP inside",
        )
        self._talk.inner = address if self._inner_wire else ""

    def _to_inside(self, data: bytes, address: str, port: int) -> None:
        if self._inner_wire:
            self._inner_wire.send(data, address, port)

    def _wire(
        self,
        wire: Wire | None,
        address: str,
        port: int,
        *,
        heard: Callable[[bytes, str, int], None],
        refused: Callable[[str], None],
        interface: str = "",
        called: str = "",
    ) -> Wire | None:
        """The socket as it has to be now; None where there is no address to listen at."""
        if wire is not None and (wire.address, wire.port) == (address, port):
            return wire
        if wire is not None:
            wire.close()
        name = called or f"UDP {interface or 'siblings'}"
        if not address:
            self._doing.problem(name, "")
            return None
        try:
            wire = Wire(address, port, heard=heard, refused=refused, interface=interface)
        except OSError as error:
            self._doing.problem(name, f"{address}:{port}: {error}")
            return None
        self._doing.problem(name, "")
        return wire

    def _become(self, own: OwnSeen) -> None:
        """The own node is seen anew. What changes for others they hear at once."""
        news = (own.ok, own.draining) != (self._own.ok, self._own.draining)
        before, self._own = self._own, own
        if own.ok != before.ok:
            self._doing.log(
                "this node is in order" if own.ok else f"this node is not in order: {'; '.join(own.reasons)}"
            )
        self._decide()
        if news:
            self._talk.beat_at_once()
            self._talk.tell_routers()

    # --- the decision -------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        config = self._talk.config
        seen = Seen(
            now=time.monotonic(),
            own=self._own,
            siblings=self._talk.siblings_seen(),
            routers=self._talk.routers_seen(),
            policies=self._doing.policies,
            over=report.over_of(config, self._device),
        )
        self._memory, self._decision = decide(config, self._place.node, self._memory, seen)
        self._talk.myself = Self(
            self._own.ok,
            self._own.draining,
            {peer: view.own.good for peer, view in self._decision.views.items()},
        )
        for action in self._decision.actions:
            if isinstance(action, NamePolicy):
                self._doing.name_policy(config.peers[action.peer].policy, action)
                continue
            to = report.peer_of(config, self._device, action.peer, action.router)
            if to is not None:
                ranges = config.peers[action.peer].ranges
                give = wireguard.give(config.interface, to, ranges, self._place.sockets)
                self._doing.steer_over(action, give, self._changed.set)

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def _routes(self) -> dict[tuple[str, str], http_face.Route]:
        return {
            ("GET", "/healthz"): lambda: Answer(HTTPStatus.OK, "ok\n"),
            ("GET", "/readyz"): self._readiness,
            ("GET", "/status"): lambda: http_face.as_json(self._status()),
            ("GET", "/metrics"): lambda: Answer(
                HTTPStatus.OK, metrics.render(self._status()), "text/plain; version=0.0.4; charset=utf-8"
            ),
            ("POST", "/drain"): lambda: self._drain(True),
            ("POST", "/undrain"): lambda: self._drain(False),
        }

    def _status(self) -> dict[str, object]:
        doing = self._doing
        return report.status(self._talk, self._own, self._decision.views, self._device, doing.counts, doing.problems)

    def _readiness(self) -> Answer:
        """Of the keeper, not of the link: a rollout has to go on when a peer is away."""
        if self._place.node not in self._talk.config.routers:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._place.node} is no router in keeper.json\n")
        if self._siblings_wire is None or self._own.ok is None:
            reasons = "\n".join(f"{name}: {text}" for name, text in self._doing.problems.items() if text)
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"not yet\n{reasons}")
        return Answer(HTTPStatus.OK, "ready\n")

    def _drain(self, draining: bool) -> Answer:
        """503 where another router is there and not ready yet: whoever is about to stop the agent asks again. 409 where
        there is nobody to wait for, or nothing that is carried.
        """
        if draining:
            links = {peer: view.own.good for peer, view in self._decision.views.items()}
            becomes = drain(self._own, links, self._talk.siblings_seen())
            if becomes == "waits":
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "no other router of this cluster is ready yet\n")
            if becomes == "nobody follows":
                return Answer(HTTPStatus.CONFLICT, "no other router of this cluster is in order\n")
        self._drained = (time.monotonic(), self._tunnel_index) if draining else None
        self._doing.log("a drain begins" if draining else "the drain is called off")
        self._become(replace(self._own, draining=draining))
        return Answer(HTTPStatus.OK, "draining\n" if draining else "not draining\n")
