"""What a keeper does to the world beside its own node, and what it says of it: policies, agents, Events, the log."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from keeper.config import Config
from keeper.decision import NamePolicy
from keeper.kubernetes import Api, ApiProblem, Conflict
from keeper.mending import Mend
from keeper.over import SteerOver
from keeper.report import Counts
from keeper.seen import PolicySeen

SAID_AGAIN_SECONDS: Final = 60.0


class Doing:
    """``api`` is for looks and events, ``quick`` for what must not wait behind them. None outside a cluster."""

    def __init__(self, node: str, api: Api | None, quick: Api | None) -> None:
        self._node, self._api, self._quick = node, api, quick
        self._hostnames: Mapping[str, str] = {}
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._said: dict[str, tuple[str, float]] = {}
        self._spoken = ("", 0.0)
        self.counts = Counts()
        self.policies: dict[str, PolicySeen] = {}
        self.problems: dict[str, str] = {}

    # --- the way out --------------------------------------------------------------------------------------------------

    async def watch_policies(self, seconds: float, config: Callable[[], Config]) -> None:
        """Keeps ``policies`` as they are in the cluster, as long as it is not cancelled."""
        while True:
            self._woken.clear()
            if self._api is not None:
                routers = config().routers
                wanted = {peer: known.policy for peer, known in config().peers.items()}
                before = dict(self.policies)
                try:
                    # A node keeps its label, and what is named before it is known would be no node's.
                    if self._hostnames.keys() != routers.keys():
                        self._hostnames = await asyncio.to_thread(self._api.hostnames, routers)
                    found = await asyncio.to_thread(self._api.policies, wanted, self._hostnames)
                    # What was changed meanwhile is newer than the answer.
                    changed = {peer for peer, policy in self.policies.items() if before.get(peer) != policy}
                    self.policies = {
                        peer: self.policies[peer] if peer in changed else policy for peer, policy in found.items()
                    }
                    self.problem("Kubernetes", "")
                except ApiProblem as problem:
                    self.problem("Kubernetes", str(problem))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)

    def wake(self) -> None:
        """The policies have to be looked at now."""
        self._woken.set()

    def name_policy(self, name: str, action: NamePolicy) -> None:
        """Makes the policy name this node, or look at the interface anew."""
        self._begin(self._name_policy(name, action))

    async def _name_policy(self, name: str, action: NamePolicy) -> None:
        if self._quick is None:
            return
        try:
            seen = await asyncio.to_thread(self._quick.name_policy, name, action, self._hostnames)
        except Conflict:
            self.wake()
            return
        except ApiProblem as problem:
            self.problem(name, str(problem))
            self.wake()
            return
        self.policies[action.peer] = seen
        self.problem(name, "")
        if action.move:
            self.counts.moved(action.peer, "out")
            await self._tell("LinkMoved", f"packets for {action.peer} leave by {self._node} now: {action.reason}")
        else:
            self.log(f"policy {name}: {action.reason}")

    # --- the way over -------------------------------------------------------------------------------------------------

    def steer_over(self, action: SteerOver, give: Coroutine[Any, Any, None], then: Callable[[], None]) -> None:
        """Gives the peer's ranges to another of its routers."""
        self._begin(self._steer_over(action, give, then))

    async def _steer_over(self, action: SteerOver, give: Coroutine[Any, Any, None], then: Callable[[], None]) -> None:
        try:
            await give
        except Exception as error:  # noqa: BLE001
            self.problem("WireGuard", f"{type(error).__name__}: {error}")
            return
        finally:
            then()
        self.problem("WireGuard", "")
        text = f"packets for {action.peer} go to {action.router}: {action.reason}"
        if action.move:
            self.counts.moved(action.peer, "over")
            await self._tell("LinkMoved", text)
        else:
            self.log(text)

    # --- mending ------------------------------------------------------------------------------------------------------

    def mended(self, action: Mend) -> None:
        """Something was put right on the node."""
        self.counts.mended[action.what] += 1
        text = f"{action.reason}; that is put right"
        said, at = self._said.get(action.what, ("", 0.0))
        # Somebody may take it away again and again.
        if text != said or time.monotonic() - at > SAID_AGAIN_SECONDS:
            self._said[action.what] = (text, time.monotonic())
            self._begin(self._tell("NodeMended", text, warning=True))

    def restart_agent(self, action: Mend) -> None:
        """Starts NetBird's agent on this node anew."""
        self._begin(self._restart_agent(action))

    async def _restart_agent(self, action: Mend) -> None:
        if self._quick is None:
            return
        try:
            names = await asyncio.to_thread(self._quick.restart_agent, self._node)
        except ApiProblem as problem:
            self.problem("agent", f"{action.reason}, and it could not be started anew: {problem}")
            return
        self.problem("agent", "" if names else f"{action.reason}, and there is no pod of it on this node")
        if names:
            self.counts.mended[action.what] += 1
            await self._tell("NodeMended", f"{action.reason}; {', '.join(names)} is started anew", warning=True)

    # --- what is said -------------------------------------------------------------------------------------------------

    def problem(self, about: str, text: str) -> None:
        """Something does not work for the keeper; empty text: it works again."""
        before = self.problems.get(about, "")
        self.problems[about] = text
        if text:
            said, at = self._said.get(about, ("", 0.0))
            if text != said or time.monotonic() - at > SAID_AGAIN_SECONDS:
                self._said[about] = (text, time.monotonic())
                self.log(f"{about}: {text}")
        elif before:
            self.log(f"{about}: works again")

    def log(self, text: str) -> None:
        """A line of the log."""
        _write(f"keeper: {text}")

    def speak(self, line: str) -> None:
        """A line for programs: when it is another one, and once a minute, since logs are cut off at their beginning."""
        said, at = self._spoken
        if line != said or time.monotonic() - at > SAID_AGAIN_SECONDS:
            self._spoken = (line, time.monotonic())
            _write(line)

    async def _tell(self, reason: str, text: str, *, warning: bool = False) -> None:
        self.log(text)
        if self._api is None:
            return
        try:
            await asyncio.to_thread(self._api.event, self._node, reason, text, warning=warning)
        except ApiProblem as problem:
            self.log(f"the Event could not be made: {problem}")

    def _begin(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log(f"failed: {type(error).__name__}: {error}")


def _write(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
