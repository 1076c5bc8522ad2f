"""Before a server at Hetzner is switched off for another type: those of its group that were switched off before it in
this ``up`` work again, of several servers all others have their vote, and of several routers another one is in order.

The engine changes one of a group after the other, but takes a server for done as soon as Hetzner has started it, long
before it is a node again. A hook of the change is where the next one can wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import pulumi

from components.former_node import LastUpdate
from components.keeper_words import why_not_in_order
from components.kubernetes_client import KubernetesClient, KubernetesError
from components.node_leaving import Clock
from components.waits import quoted
from domain import type_changes as rules
from domain.type_changes import Starts

Answer = TypeVar("Answer")
AGAIN_SECONDS: Final = 600.0
"""From a server's start by Hetzner to a node whose pods run again."""
LOOK_SECONDS: Final = 2.0
TELL_SECONDS: Final = 10.0
READY_PATH: Final = "/readyz"
"""Of an API server: it serves, and its etcd has a leader."""


class NotChangedError(Exception):
    """A server keeps its type, and was not switched off."""


@dataclass(frozen=True)
class Machine:
    """What may be changed. ``group``: of one group one is changed after the other. ``server``: it runs the API;
    ``router``: it carries a link.
    """

    group: str
    server: bool
    router: bool


class TypeChanges:
    """The servers of one cluster in one ``up``. ``machines`` are {name of a machine: what it is}; ``last`` is where the
    cluster is asked, and before its first update nothing is asked.
    """

    def __init__(self, last: LastUpdate, machines: Mapping[str, Machine], clock: Clock | None = None) -> None:
        self._last = last
        self._machines = machines
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._before: dict[str, Starts] = {}
        """Of those that were switched off in this ``up``, what ran there."""

    async def before_update(self, args: pulumi.ResourceHookArgs) -> None:
        """The hook of every server. Raises :class:`NotChangedError`."""
        if args.name in self._machines and rules.has_another_type(args.old_inputs or {}, args.new_inputs or {}):
            address = str((args.old_outputs or {}).get("ipv4Address"))
            await asyncio.to_thread(self.wait, args.name, address, pulumi.log.info)

    def wait(self, name: str, address: str, say: Callable[[str], None]) -> None:
        """Returns once this one, which has that public address, may be switched off, and notes what runs there."""
        if self._last.kubeconfig is None:
            return
        begun, told_at = self._clock.now(), None
        while lacking := self._begin(name, address):
            passed = self._clock.now() - begun
            if passed >= AGAIN_SECONDS:
                raise NotChangedError(rules.not_changed(self._last.stack, name, lacking, AGAIN_SECONDS))
            if told_at is None or self._clock.now() - told_at >= TELL_SECONDS:
                say(rules.waits(self._last.stack, name, lacking, passed, AGAIN_SECONDS))
                told_at = self._clock.now()
            self._clock.sleep(LOOK_SECONDS)

    def _begin(self, name: str, address: str) -> str:
        """Why it can't be now; where it can, what runs there is noted before another one looks: groups are changed
        beside each other.
        """
        with self._lock:
            if lacking := self._lacking(name, address):
                return lacking
            try:
                self._before[name] = self._ask(lambda client: rules.starts(client.request("GET", _pods(name))))
            except KubernetesError as error:
                # Its Node has to be ready again all the same.
                self._before[name] = {}
                pulumi.log.debug(f"{self._last.stack}: what runs on {name} was not asked: {error}")
        return ""

    def _lacking(self, name: str, address: str) -> str:
        of = self._machines[name]
        others = {other: its for other, its in self._machines.items() if other != name}
        servers = [other for other, its in others.items() if its.server and of.server]
        routers = [other for other, its in others.items() if its.router and of.router]
        earlier = [
            other
            for other, its in others.items()
            if other in self._before and (its.group == of.group or other in routers)
        ]
        try:
            again = [self._ask(partial(self._why_not, other)) for other in earlier]
            if any(again):
                return "; ".join(reason for reason in again if reason)
            # Whatever is the matter with the others, and since when: one of them has to carry the links meanwhile.
            idle = [self._ask(partial(self._why_not, other)) for other in routers if other not in earlier]
            if routers and len(idle) == len(routers) and all(idle):
                return "; ".join(idle)
            if not servers:
                return ""
            listed = self._ask(lambda client: client.request("GET", "/api/v1/nodes"))
        except KubernetesError as error:
            return str(error)
        return rules.why_no_majority(listed, servers, self._say_that_they_are_ready(address))

    def _why_not(self, name: str, client: KubernetesClient) -> str:
        node, pods = client.get(f"/api/v1/nodes/{name}"), client.request("GET", _pods(name))
        reason = rules.why_not_again(node, self._before.get(name, {}), rules.starts(pods))
        if not reason and self._machines[name].router:
            reason = why_not_in_order(client, name)
        return f"{name}: {reason}" if reason else ""

    def _ask(self, question: Callable[[KubernetesClient], Answer]) -> Answer:
        """By whichever server answers. Raises KubernetesError where none does."""
        reasons = []
        for address, client in self._last.servers():
            if isinstance(client, str):
                reasons.append(f"{address}: {client}")
                continue
            try:
                return question(client)
            except KubernetesError as error:
                reasons.append(f"{address}: {error}")
        raise KubernetesError("; ".join(reasons) or "no server is known")

    def _say_that_they_are_ready(self, but: str) -> dict[str, str]:
        """{address of a server: why it is not ready}, empty texts of those that say that they are."""
        found = {}
        for address, client in self._last.servers():
            if address != but:
                found[address] = client if isinstance(client, str) else _why_not_ready(client)
        return found


def _why_not_ready(client: KubernetesClient) -> str:
    try:
        client.text(READY_PATH)
    except KubernetesError as error:
        return str(error)
    return ""


def _pods(node: str) -> str:
    return f"/api/v1/pods?fieldSelector={quoted(f'spec.nodeName={node}')}"
