"""Child processes that are kept running, and end with this one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.standins.k3s.journal import journal_stream, log
from lab.standins.k3s.layout import PATH

CHILD_BACKOFF_SECONDS = (1.0, 2.0, 5.0)
# As short as that because kube-apiserver would wait for watchers for 15 s and more; k3s, one process, waits for nobody.
CHILD_STOP_SECONDS = 2.0


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: k3s's components end with k3s, also when it is killed. containerd's shims are not children."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Child:
    """A component that is kept running."""

    name: str
    argv: Sequence[str]
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Starts children, starts those again that end, ends all of them in the reverse order of their start."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(self, name: str, argv: Sequence[str]) -> Child:
        """Start a component and keep it running."""
        child = Child(name, argv)
        child.task = asyncio.get_running_loop().create_task(self._run(child))
        self._children.append(child)
        return child

    async def stop(self) -> None:
        """End all components."""
        for child in reversed(self._children):
            child.stopping.set()
            process = child.process
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), CHILD_STOP_SECONDS)
                except TimeoutError:
                    log(f"{child.name} is still busy, killing it")
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
            if child.task is not None:
                child.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await child.task

    async def _run(self, child: Child) -> None:
        failures = 0
        while not child.stopping.is_set():
            started = time.monotonic()
            code = await self._run_once(child)
            if child.stopping.is_set():
                return
            failures = 0 if time.monotonic() - started > 60 else failures + 1
            delay = CHILD_BACKOFF_SECONDS[min(failures, len(CHILD_BACKOFF_SECONDS)) - 1 if failures else 0]
            log(f"{child.name} ended with {code}, starting it again in {delay:g} s")
            await asyncio.sleep(delay)

    async def _run_once(self, child: Child) -> int:
        stream = journal_stream(child.name)
        output = stream.fileno() if stream is not None else sys.stderr.fileno()
        try:
            child.process = await asyncio.create_subprocess_exec(
                *child.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        finally:
            if stream is not None:
                stream.close()
        return await child.process.wait()
