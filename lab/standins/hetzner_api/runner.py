"""Carries accepted actions out: calls the backend in a thread, keeps the minimum time, records the end, stores the
state.

Owns the order: actions on one machine run one after the other in the order of their IDs. After a restart every action
that was running is run again, which is why the backend's calls are idempotent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from lab.standins.hetzner_api import effects
from lab.standins.hetzner_api.backend import BackendError, MachineBackend
from lab.standins.hetzner_api.cloud import Cloud
from lab.standins.hetzner_api.effects import Outcome
from lab.standins.hetzner_api.faults import Faults
from lab.standins.hetzner_api.records import Action, ActionError
from lab.standins.hetzner_api.storage import Storage

logger = logging.getLogger(__name__)

ERROR_MESSAGE_LIMIT_CHARACTERS = 500


def system_clock() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


class Runner:
    """The edge between the pure state and the machines."""

    def __init__(
        self,
        cloud: Cloud,
        backend: MachineBackend,
        storage: Storage,
        faults: Faults,
        *,
        action_seconds: float,
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        self.cloud = cloud
        self.backend = backend
        self.storage = storage
        self.faults = faults
        self.action_seconds = action_seconds
        self.clock = clock
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Run again what was running when the former process ended."""
        running = sorted(self.cloud.running_actions(), key=lambda action: action.id)
        if running:
            logger.info("resuming %d running actions", len(running))
        self.submit(running)

    def submit(self, actions: Iterable[Action]) -> None:
        """Store the state, then run the actions in the background."""
        self.save()
        for action in actions:
            task = asyncio.create_task(self._run(action, effects.machines_of(self.cloud, action)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def save(self) -> None:
        """Store the state."""
        self.storage.save(self.cloud.state)

    async def watch_machines(self, interval_seconds: float) -> None:
        """Follow machines that stop or start by themselves: their servers' status follows. Runs until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            for server in list(self.cloud.state.servers.values()):
                if server.status not in ("running", "off") or self.cloud.is_locked("server", server.id):
                    continue
                runs = await asyncio.to_thread(self.backend.running, server.machine)
                settled = server.status in ("running", "off") and not self.cloud.is_locked("server", server.id)
                if settled and runs != (server.status == "running"):
                    server.status = "running" if runs else "off"
                    logger.info("server %d (%s) is %s", server.id, server.name, server.status)
                    self.save()

    async def close(self) -> None:
        """Stop waiting for actions; those that run stay running in the stored state."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, action: Action, machines: list[str]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for machine in machines:
                await stack.enter_async_context(self._locks.setdefault(machine, asyncio.Lock()))
            loop = asyncio.get_running_loop()
            earliest_end = loop.time() + self.action_seconds
            error: ActionError | None = None
            outcome = Outcome()
            try:
                outcome = await self._carry_out(action)
            except Exception as problem:
                if not isinstance(problem, BackendError):
                    logger.exception("action %d %s", action.id, action.command)
                error = ActionError(code="action_failed", message=str(problem)[:ERROR_MESSAGE_LIMIT_CHARACTERS])
            await asyncio.sleep(max(0.0, earliest_end - loop.time()))
            if error is None:
                effects.finish(self.cloud, action, outcome)
            else:
                runs = [await self._machine_runs(machine) for machine in machines]
                effects.abort(self.cloud, action, machine_runs=any(runs))
            self.cloud.end_action(action, self.clock(), error)
            self.save()
            resources = " ".join(f"{resource.type}={resource.id}" for resource in action.resources)
            logger.info("action %d %s %s %s%s", action.id, action.command, resources, action.status, _because(error))

    async def _machine_runs(self, machine: str) -> bool:
        try:
            return await asyncio.to_thread(self.backend.running, machine)
        except Exception:
            logger.exception("machine %s", machine)
            return False

    async def _carry_out(self, action: Action) -> Outcome:
        fault = self.faults.for_action(action.command)
        if fault is not None:
            raise BackendError(fault.message)
        call = effects.begin(self.cloud, action)
        self.save()
        return await asyncio.to_thread(call, self.backend)


def _because(error: ActionError | None) -> str:
    return f": {error.message}" if error is not None else ""
