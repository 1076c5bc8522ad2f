"""The lab's helper processes: started once by name, found again by id and start time, stopped by id.

A helper runs in a session of its own, in the lab's control group, on request in a network namespace; its output goes
to a log. It knows nothing of what the helpers do.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import cgroups, private_files, state
from lab.commands import wait_until
from lab.errors import DeadlinePassed, HelperEnded, LabError

NETNS_DIRECTORY = Path("/run/netns")
ENTER_DEADLINE_SECONDS = 120.0
"""For a process that was started to be in its control group, which takes a shell script: a guard."""
GRACE_SECONDS = 30.0
"""How long a helper may take to end before it is killed."""
KILL_DEADLINE_SECONDS = 120.0
"""For a process to be gone after SIGKILL: a guard."""
_NAME = "ISTHMUS_LAB_HELPER"
"""In the environment of a helper: its name, by which one that was started and not recorded is known."""
_children: dict[int, subprocess.Popen[bytes]] = {}
"""Helpers that this very process has started: they are its children, and someone must reap them."""


@atexit.register
def _let_them_live() -> None:
    """Helpers outlive whoever has started them; Python would call each of them a leak."""
    for child in _children.values():
        if child.poll() is None:
            child.returncode = 0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A process for certain: an id alone may come to belong to another one."""

    pid: int
    start_time: int
    """Field 22 of /proc/PID/stat: ticks between the boot of the host and the start of the process."""

    @property
    def alive(self) -> bool:
        """True while this process runs; a zombie does not."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            _children.pop(self.pid, None)  # Unless another thread has just done so.
        fields = _stat(self.pid)
        return fields is not None and int(fields[19]) == self.start_time and fields[0] not in "ZX"

    def signal(self, number: int) -> None:
        """Sends a signal to this process, or to none."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def identity(pid: int) -> Identity | None:
    """The identity of a process that runs now."""
    fields = _stat(pid)
    return None if fields is None else Identity(pid=pid, start_time=int(fields[19]))


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold blanks; the first one is the state (field 3)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def children(pid: int) -> list[int]:
    """The ids of the direct children of a process; not every kernel has /proc/PID/task/PID/children."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            fields = _stat(int(path.name))
            if fields is not None and int(fields[1]) == pid:
                found.append(int(path.name))
    return found


def ancestors(pid: int) -> list[int]:
    """The ids of the process's parent, that one's parent, and so on; without process 0."""
    found: list[int] = []
    fields = _stat(pid)
    while fields is not None and int(fields[1]) > 0:
        found.append(int(fields[1]))
        fields = _stat(found[-1])
    return found


def command_line(pid: int) -> list[str]:
    """The words of the command that the process was started with; none for one that has ended."""
    try:
        return [word for word in Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0") if word]
    except OSError:
        return []


def launch(
    argv: Sequence[str],
    *,
    group: str,
    log: Path,
    netns: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Identity:
    """Starts the command in a session of its own and in the control group ``isthmus-lab/<group>``; returns at once.

    ``environment`` replaces ours, less what marks a helper. ``netns`` is the name of a network namespace. stdout and
    stderr are appended to ``log``.
    """
    command = list(argv)
    if netns is not None:
        # Not `ip netns exec`: it also makes a mount namespace with a new /sys, in which no cgroup is mounted.
        command = ["nsenter", f"--net={NETNS_DIRECTORY / netns}", *command]
    if environment is None:
        environment = {name: value for name, value in os.environ.items() if name != _NAME}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            cgroups.wrap(group, command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd="/" if directory is None else directory,
            start_new_session=True,
        )
    _children[child.pid] = child
    started = identity(child.pid)
    if started is None:
        raise LabError(f"{argv[0]} ended at once; see {log}")
    # Not before it is in its group is it sure to be found by whoever takes the lab down.
    wait_until(
        lambda: child.pid in cgroups.processes(group) or not started.alive,
        what=f"{argv[0]} enters its control group",
        deadline_seconds=ENTER_DEADLINE_SECONDS,
        every_seconds=0.002,
    )
    return started


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    netns: str | None = None,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Identity:
    """Starts the helper ``name``, or returns the one that runs under this name already.

    The log is ``logs/<name>.log`` in the state directory unless another is given. Arguments are not recorded: they may
    hold secrets.
    """
    running_already = find(name)
    if running_already is not None:
        return running_already
    for unrecorded in _unrecorded(name):
        # Of a run that was killed in between. It has the port, and nobody would ever stop it.
        end(unrecorded, deadline_seconds=GRACE_SECONDS)
    environment = {**(os.environ if environment is None else environment), _NAME: name}
    log = log_path(name) if log is None else log
    started = launch(argv, group=cgroups.HELPERS, log=log, netns=netns, environment=environment, directory=directory)
    record = {**asdict(started), "program": argv[0], "netns": netns, "log": str(log), "started": time.time()}
    state.write_json(_record(name), record)
    return started


def _unrecorded(name: str) -> Iterator[Identity]:
    """Processes that were started as this helper, and lead a session as such: none that it has started itself."""
    mark = f"{_NAME}={name}".encode()
    for pid in sorted(cgroups.processes(cgroups.HELPERS)):
        with contextlib.suppress(OSError):
            found = identity(pid)
            if found and os.getsid(pid) == pid and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield found


def find(name: str) -> Identity | None:
    """The running helper of that name."""
    record = state.read_json(_record(name))
    if record is None:
        return None
    found = Identity(pid=record["pid"], start_time=record["start_time"])
    return found if found.alive else None


def running(name: str) -> bool:
    """True while the helper runs."""
    return find(name) is not None


def wait_for_answer(
    name: str, answers: Callable[[], bool], *, what: str, deadline_seconds: float, every_seconds: float = 0.2
) -> None:
    """Waits until a helper answers. Raises :class:`~lab.errors.HelperEnded` with its last words when it ends before,
    :class:`~lab.errors.DeadlinePassed` at the deadline.
    """

    def asked() -> bool:
        if answers():
            return True
        if not running(name):
            raise HelperEnded(f"{name} ended by itself; it said last:\n{private_files.tail(log_path(name))}")
        return False

    wait_until(
        asked,
        what=what,
        deadline_seconds=deadline_seconds,
        state=lambda: private_files.tail(log_path(name)),
        every_seconds=every_seconds,
    )


def names() -> list[str]:
    """The helpers that were started and not stopped, running or not."""
    return sorted(path.stem for path in _directory().glob("*.json"))


def log_path(name: str) -> Path:
    """Where the helper's output goes unless :func:`spawn` was told otherwise."""
    return state.STATE / "logs" / f"{name}.log"


def stop(name: str, *, deadline_seconds: float = GRACE_SECONDS) -> None:
    """Ends the helper and the processes of its group: SIGTERM, at the deadline SIGKILL. No error if there is none."""
    found = find(name)
    if found is not None:
        end(found, deadline_seconds=deadline_seconds)
    _record(name).unlink(missing_ok=True)


def end(process: Identity, *, deadline_seconds: float) -> None:
    """Ends the process, which leads a session, together with its process group."""
    for number, seconds in ((signal.SIGTERM, deadline_seconds), (signal.SIGKILL, KILL_DEADLINE_SECONDS)):
        if not process.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            wait_until(lambda: not process.alive, what=f"Process {process.pid} ends", deadline_seconds=seconds)
        except DeadlinePassed:
            if number is signal.SIGKILL:
                raise


def _directory() -> Path:
    return state.STATE / "processes"


def _record(name: str) -> Path:
    return _directory() / f"{name}.json"
