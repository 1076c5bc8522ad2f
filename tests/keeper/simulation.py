"""Whole clusters of keepers with the real conversation and decision, over a network that loses and delays, on a
clock that is a number. Policies live in an API that knows versions, as in Kubernetes, and keepers look there seldom.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from keeper.config import Config, Peer
from keeper.conversation import Conversation, Self
from keeper.decision import Decision, Memory, NamePolicy, decide
from keeper.seen import OwnSeen, PolicySeen, Seen

STEP = 0.05
BEAT_STEPS, PROBE_STEPS, API_STEPS = 4, 5, 40


@dataclass
class Move:
    """A policy that came to name another node."""

    at: float
    peer: str
    old: str
    new: str
    reason: str


@dataclass
class Cluster:
    """Its routers' addresses and its API: {peer: (node, version, stamp)}."""

    name: str
    number: int
    routers: list[str]
    policies: dict[str, tuple[str | None, int, str]] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    api_up: bool = True

    def address(self, node: str) -> str:
        return f"10.{self.number}.0.{self.routers.index(node) + 1}"

    def tunnel_address(self, node: str) -> str:
        return f"100.64.{self.number}.{self.routers.index(node) + 1}"

    def inner_address(self, node: str) -> str:
        return f"10.{100 + self.number}.{self.routers.index(node) + 1}.1"

    def out(self, peer: str) -> str:
        """The node that packets for the peer leave by."""
        return self.policies[peer][0] or min(self.routers)


@dataclass
class Node:
    """A router with its keeper."""

    cluster: Cluster
    name: str
    alive: bool = True
    running: bool = True
    """Whether the keeper's process is there."""
    stopped: bool = False
    """Whether it is not scheduled."""
    in_order: bool = True
    """Forwarding, ip rules and so on, as the keeper sees them."""
    tunnel_up: bool = True
    passes: bool = True
    """Whether it really passes packets on, which it does not know itself."""
    draining: bool = False
    api_up: bool = True
    generation: int = 0
    holder: dict[str, str | None] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    known: dict[str, PolicySeen] = field(default_factory=dict)
    decision: Decision = field(default_factory=lambda: Decision((), {}))
    phase: int = 0
    talk: Conversation = field(init=False)

    @property
    def serves(self) -> bool:
        """Whether packets really get through by it."""
        return self.alive and self.in_order and self.tunnel_up and self.passes


class World:
    """``sites`` is {cluster: number of routers}; ``old`` are clusters whose program has no keepers.

    It can be pickled at any time: no function in it is one without a name.
    """

    def __init__(
        self,
        sites: dict[str, int],
        *,
        seed: int = 0,
        loss: float = 0.0,
        delay: int = 0,
        old: frozenset[str] = frozenset(),
    ) -> None:
        self.now = 1000.0
        self._random = random.Random(seed)
        self._loss, self._delay = loss, delay
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.old = old
        self.cut: set[frozenset[str]] = set()
        """Pairs of nodes that do not reach each other by the nodes' own network."""
        self._configs: dict[str, Config] = {}
        self.clusters = {
            name: Cluster(name, number, [f"{name}-{index + 1}" for index in range(count)])
            for number, (name, count) in enumerate(sites.items(), 1)
        }
        self.nodes: dict[str, Node] = {}
        for cluster in self.clusters.values():
            others = [other for other in self.clusters if other != cluster.name]
            cluster.policies = dict.fromkeys(others, (None, 1, ""))
            for name in cluster.routers:
                node = Node(cluster, name, running=cluster.name not in old)
                node.holder = {other: min(self.clusters[other].routers) for other in others}
                self.nodes[name] = node
        self._at = {}
        """Who has an address of the nodes' own network, and who one behind the tunnel (True)."""
        for name, node in self.nodes.items():
            self._at[False, node.cluster.address(name)] = node
            self._at[True, node.cluster.tunnel_address(name)] = node
            self.start(name)

    # --- what happens -------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """A new process of the keeper."""
        node = self.nodes[name]
        node.generation += 1
        node.phase = self._random.randrange(BEAT_STEPS * PROBE_STEPS * API_STEPS)
        node.memory, node.known = Memory(), {}
        node.running, node.stopped = node.cluster.name not in self.old, False
        inner = node.cluster.inner_address(name)
        node.talk = Conversation(
            self.config(node.cluster),
            node=name,
            key=b"k" * 16,
            boot=f"{name}-{node.generation}",
            to_sibling=partial(self._carry, node, False),
            to_router=partial(self._carry, node, True),
        )
        node.talk.inner = inner

    def switch_off(self, name: str) -> None:
        self.nodes[name].alive = self.nodes[name].running = False

    def switch_on(self, name: str) -> None:
        node = self.nodes[name]
        node.alive, node.in_order, node.tunnel_up, node.draining = True, True, True, False
        self.start(name)

    def config(self, cluster: Cluster) -> Config:
        """What the cluster's keepers are told; routers neither come nor go here."""
        if cluster.name not in self._configs:
            self._configs[cluster.name] = self._made_config(cluster)
        return self._configs[cluster.name]

    def _made_config(self, cluster: Cluster) -> Config:
        return Config(
            cluster=cluster.name,
            port=51823,
            interface="wt0",
            routers={name: cluster.address(name) for name in cluster.routers},
            pod_cidr=f"10.{100 + cluster.number}.0.0/16",
            peers={
                other.name: Peer(
                    routers={name: other.tunnel_address(name) for name in other.routers},
                    ranges=(f"10.{100 + other.number}.0.0/16",),
                    policy=f"isthmus-to-{other.name}",
                    port=None if other.name in self.old else 51823,
                )
                for other in self.clusters.values()
                if other is not cluster
            },
        )

    def run(self, seconds: float) -> None:
        """Lets time pass."""
        for _ in range(round(seconds / STEP)):
            self.now = round(self.now + STEP, 6)
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            for node in self.nodes.values():
                if node.alive and node.running and not node.stopped:
                    self._round(node)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _round(self, node: Node) -> None:
        step = round(self.now / STEP) + node.phase
        if step % API_STEPS == 0 or not node.known:
            self._look_at_api(node)
        beats, probes = step % BEAT_STEPS == 0, step % PROBE_STEPS == 0
        if not (beats or probes):
            return
        ok = node.in_order and node.tunnel_up
        config = self.config(node.cluster)
        seen = Seen(
            now=self.now,
            own=OwnSeen(
                ok=ok,
                reasons=() if ok else ("broken",),
                draining=node.draining,
                stamp=f"{node.name} {node.generation}",
                routed=dict.fromkeys(config.peers, True),
            ),
            siblings=node.talk.siblings_seen(),
            routers=node.talk.routers_seen(),
            policies=node.known,
            over=dict(node.holder) if node.tunnel_up else {},
        )
        node.memory, node.decision = decide(config, node.name, node.memory, seen)
        node.talk.myself = Self(ok, node.draining, {peer: view.own.good for peer, view in node.decision.views.items()})
        if beats:
            node.talk.beat()
        if probes:
            node.talk.probe(self.now, node.holder if node.tunnel_up else {})
        for action in node.decision.actions:
            if isinstance(action, NamePolicy):
                if node.api_up and node.cluster.api_up:
                    self._later(partial(self._patch, node, node.generation, action))
            else:
                node.holder[action.peer] = action.router

    def _patch(self, node: Node, generation: int, action: NamePolicy) -> None:
        cluster = node.cluster
        old, version, _ = cluster.policies[action.peer]
        if action.version == str(version):
            out = cluster.out(action.peer)
            cluster.policies[action.peer] = (action.node or old, version + 1, action.stamp)
            if cluster.out(action.peer) != out:
                cluster.moves.append(Move(self.now, action.peer, out, cluster.out(action.peer), action.reason))
        if node.alive and node.running and node.generation == generation:
            self._look_at_api(node)

    def _look_at_api(self, node: Node) -> None:
        if node.api_up and node.cluster.api_up:
            node.known = {
                peer: PolicySeen(name, str(version), stamp)
                for peer, (name, version, stamp) in node.cluster.policies.items()
            }

    def _carry(self, sender: Node, tunnel: bool, data: bytes, address: str, _port: int) -> None:
        if tunnel and not sender.tunnel_up:
            return
        if tunnel and not address.startswith("100."):
            self._carry_through(sender, data, address)
            return
        target = self._at.get((tunnel, address))
        if target is not None:
            self._later(partial(self._arrive, sender, target, data, tunnel=tunnel))

    def _carry_through(self, sender: Node, data: bytes, address: str) -> None:
        """To a node behind the router that the sender's WireGuard has for the range, and back the same way."""
        for target in self.nodes.values():
            there, here = target.cluster, sender.cluster
            if there is here or address != there.inner_address(target.name):
                continue
            router = self.nodes[sender.holder[there.name] or ""]
            source = there.inner_address(router.name)
            whole = router.serves and target.alive and target.running and not target.stopped
            if whole and router is not target:
                back = partial(self._carry_back, sender, router, address)
                self._later(partial(target.talk.from_inside, data, source, 40000, back))

    def _carry_back(self, sender: Node, router: Node, source: str, answer: bytes, _address: str, _port: int) -> None:
        if router.serves:
            self._later(partial(self._arrive_back, sender, source, answer))

    def _arrive_back(self, sender: Node, source: str, answer: bytes) -> None:
        sender.talk.from_router(answer, source, self.now)

    def _arrive(self, sender: Node, target: Node, data: bytes, *, tunnel: bool) -> None:
        if not target.alive or (tunnel and not target.tunnel_up):
            return
        if not tunnel and frozenset((sender.name, target.name)) in self.cut:
            return
        here, there = sender.cluster, target.cluster
        if not target.running:
            if sender.running and not sender.stopped:
                address = there.tunnel_address(target.name) if tunnel else there.address(target.name)
                refused = sender.talk.refused_by_router if tunnel else sender.talk.refused_by_sibling
                self._later(partial(refused, address))
            return
        if target.stopped:
            # In the socket's buffer until it runs again.
            self._later(partial(self._arrive, sender, target, data, tunnel=tunnel))
        elif tunnel:
            target.talk.from_router(data, here.tunnel_address(sender.name), self.now)
        else:
            target.talk.from_sibling(data, here.address(sender.name), self.now)

    def _later(self, act: Callable[[], None]) -> None:
        if self._random.random() < self._loss:
            return
        self._count += 1
        at = self.now + STEP * self._random.randint(0, self._delay)
        heapq.heappush(self._queue, (at + STEP / 2, self._count, act))
