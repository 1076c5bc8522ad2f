"""Waiting for something in the cluster in each ``up``, without a resource that could stay failed.

A wait looks anew whenever the program runs, says what it waits for and what is there, and ends with the reason and the
fix. What it found is nowhere kept, so nothing of a wait that was in vain stands in the way of the next ``up``. A
preview waits for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import pulumi

from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError

ANSWER_SECONDS: Final = 30.0
"""For an API that has not answered once: what needs it says so itself, and an ``up --target`` may not need it."""
LOOK_SECONDS: Final = 2.0
TELL_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Seen:
    """What a look saw: ``state`` says what is there and what is not; ``notes`` are for a person, whatever the end."""

    done: bool
    state: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wait:
    """Something to wait for. ``look`` and ``why`` block and run in a thread; ``why`` gives reason and fix of a wait
    that was in vain. ``look`` may raise KubernetesError, which is a state like any other until the deadline.
    """

    what: str
    look: Callable[[], Seen]
    why: Callable[[Seen], str]
    deadline_seconds: float


class TooLateError(pulumi.RunError):
    """A wait was in vain. The engine shows the text without a traceback."""


async def wait_until(
    stack: str,
    wait: Wait,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> bool:
    """True when it is there, False when the API did not answer at all. Raises :class:`TooLateError` at the deadline.

    Only the looks are in threads: a program that fails elsewhere must not sit through this.
    """
    begun = told_at = now()
    told, answered = "", False
    while True:
        try:
            seen = await asyncio.to_thread(wait.look)
            answered = True
        except KubernetesError as error:
            seen = Seen(False, str(error))
            answered |= error.status is not None
        passed = now() - begun
        if not answered and passed >= ANSWER_SECONDS:
            warn(f"{stack}: {wait.what} can't be looked at, and is not waited for: {seen.state}")
            return False
        if seen.done:
            if told:
                say(f"{stack}: {wait.what}: there after {passed:.0f} s")
            for note in seen.notes:
                warn(f"{stack}: {note}")
            return True
        if passed >= wait.deadline_seconds:
            break
        if seen.state != told or now() - told_at >= TELL_SECONDS:
            say(
                f"{stack}: waiting for {wait.what} ({passed:.0f} of {wait.deadline_seconds:.0f} s): {seen.state}",
            )
            told, told_at = seen.state, now()
        await sleep(LOOK_SECONDS)
    for note in seen.notes:
        warn(f"{stack}: {note}")
    try:
        reason = await asyncio.to_thread(wait.why, seen)
    except KubernetesError as error:
        reason = str(error)
    raise TooLateError(
        f"{stack}: waited {wait.deadline_seconds:.0f} s for {wait.what}, in vain: {seen.state}. {reason}. Nothing of "
        "this stands in the way of the next `pulumi up`, which looks anew"
    )


async def watch_until(ended: asyncio.Future[Any], waiting: Coroutine[Any, Any, bool]) -> None:
    """Waits as ``waiting`` does (:func:`wait_until`), and without a word no more once ``ended`` is done."""
    watching = asyncio.ensure_future(waiting)
    await asyncio.wait([ended, watching], return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        await watching
    watching.cancel()


class Waiting:
    """The waits of one program run. Not ``active``, it hands on what would be waited for."""

    def __init__(self, stack: str, kubeconfig: pulumi.Input[str], context: str | None, *, active: bool) -> None:
        self._stack = stack
        self._kubeconfig = pulumi.Output.from_input(kubeconfig)
        self._context = context
        self._active = active and not pulumi.runtime.is_dry_run()
        self._answers = True

    def until(
        self,
        make: Callable[[KubernetesClient, Any], Wait],
        *,
        after: pulumi.Input[pulumi.Resource],
        beside: Sequence[pulumi.Input[pulumi.Resource]] = (),
        values: pulumi.Input[Any] = None,
    ) -> pulumi.Input[pulumi.Resource]:
        """What ``make`` says is waited for once ``after`` and ``beside`` are made and the ``values`` known; gives
        ``after`` again, for the ``depends_on`` of what comes next.
        """
        if not self._active:
            return after

        async def wait(known: Any) -> pulumi.Resource:
            text, given, resource = known[0], known[1], known[2]
            try:
                client = KubernetesClient(text, self._context)
            except UnsupportedKubeconfigError as reason:
                pulumi.log.warn(
                    f"{self._stack}: this program can't look into the cluster, and waits for nothing: {reason}"
                )
            else:
                if self._answers:
                    self._answers = await wait_until(self._stack, make(client, given), pulumi.log.info, pulumi.log.warn)
            return cast("pulumi.Resource", resource)

        def made(known: Sequence[Any]) -> pulumi.Output[Any]:
            """Resources are there as soon as they are registered, their urns when they are made."""
            return pulumi.Output.all(*known[:3], *(resource.urn for resource in known[2:]))

        first = pulumi.Output.all(self._kubeconfig, pulumi.Output.from_input(values), after, *beside)
        waited: pulumi.Output[pulumi.Resource] = first.apply(made).apply(wait)
        return waited

    def beside(
        self,
        make: Callable[[KubernetesClient], Wait],
        *,
        made: pulumi.Resource,
        after: pulumi.Input[pulumi.Resource],
    ) -> None:
        """Says what is there while the engine itself waits for ``made``, which gives no reason; from ``after`` on.

        It holds up nothing and fails nothing: it ends with the engine's wait. What was in vain it warns of, with reason
        and fix, so its deadline is to be the shorter one; the error is then the engine's.
        """
        if not self._active:
            return
        ended = asyncio.ensure_future(made.urn.future())
        # The engine says by itself what went wrong with it.
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())

        async def watch(known: Any) -> str:
            await asyncio.wait([ended], timeout=TELL_SECONDS)
            try:
                wait = make(KubernetesClient(known[0], self._context))
            except UnsupportedKubeconfigError:
                return ""
            if not ended.done():
                try:
                    await watch_until(ended, wait_until(self._stack, wait, pulumi.log.info, pulumi.log.warn))
                except TooLateError as late:
                    pulumi.log.warn(str(late))
            return ""

        def registered(known: Sequence[Any]) -> pulumi.Output[Any]:
            return pulumi.Output.all(known[0], known[1].urn)

        # The program does not end before what it has begun.
        first = pulumi.Output.all(self._kubeconfig, after)
        _watched: pulumi.Output[str] = first.apply(registered).apply(watch)
