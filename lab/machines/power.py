"""Machines are switched on and off, and boot."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from lab import cgroups
from lab.commands import wait_until
from lab.errors import DeadlinePassed, MachineError
from lab.machines.entering import exec  # noqa: A004 - what it does is known by this name
from lab.machines.looking import console, last_words, running
from lab.machines.records import Record, alive, home, locked, namespace, read_record, write_record
from lab.machines.wiring import connect, darken, disconnect
from lab.processes import Identity, children, identity, launch

INIT = Path(__file__).resolve().parents[1] / "files" / "machine-init"

GRACE_SECONDS = 90.0
"""How long a machine may take to shut down before it is switched off."""

ENTER_DEADLINE_SECONDS = 180.0
"""From the machine's start to its init, less than a second on an idle machine: a guard against one that hangs."""
BOOT_DEADLINE_SECONDS = 600.0
"""Until systemd has worked off its start jobs, a few seconds on an idle machine: a guard."""
_POWER_OFF = signal.SIGRTMIN + 4
"""systemd's signal for a clean power-off (systemd(1), "SIGNALS")."""

_BOOTED: Final[dict[str, Literal["running", "degraded"]]] = {"running": "running", "degraded": "degraded"}


def start(name: str) -> None:
    """Switches the machine on and returns when its systemd runs, see :func:`wait_boot`. No error if it is on.

    At every start but the first the network namespace is made anew: nothing that a former boot left in it, such as
    links or packet filters, is there any more, and the interfaces have the same addresses.
    """
    with locked(name):
        record = read_record(name)
        if alive(record) and (record.init is not None or _late_init(name, record)):
            return
        if record.supervisor is not None:
            # Of a start that did not get as far as an init.
            record.supervisor.signal(signal.SIGKILL)
        cgroups.kill(name)
        cgroups.remove(name)
        if record.boots:
            disconnect(name, record.interfaces)
        connect(name, record.interfaces)
        directory = home(name)
        binds = [word for bind in record.binds for word in (str(bind.source), bind.target)]
        command = init_command(
            directory, tree=Path(record.tree), hostname=record.hostname, binds=binds, group=cgroups.make(name)
        )
        # The outer process stays among the helpers: with version 2, nothing but the machine may be in its group.
        supervisor = launch(command, group=cgroups.HELPERS, log=console(name), netns=namespace(name))
        record.boots += 1
        record.supervisor = supervisor
        record.init = None
        write_record(name, record)
        try:
            record.init = wait_until(
                lambda: _find_init(supervisor),
                what=f"machine {name} starts its init",
                deadline_seconds=ENTER_DEADLINE_SECONDS,
            )
        except DeadlinePassed:
            raise MachineError(f"machine {name} did not start its init; it said last:\n{last_words(name)}") from None
        write_record(name, record)


def _late_init(name: str, record: Record) -> bool:
    """Completes the record of a machine whose start was killed before it knew the init; False when none comes."""
    assert record.supervisor is not None
    supervisor = record.supervisor
    with contextlib.suppress(DeadlinePassed):
        record.init = wait_until(
            lambda: _find_init(supervisor),
            what=f"machine {name} starts its init",
            deadline_seconds=ENTER_DEADLINE_SECONDS,
        )
        write_record(name, record)
    return record.init is not None


def init_command(
    directory: Path, *, tree: Path, hostname: str, binds: Sequence[str], group: Sequence[Path]
) -> list[str]:
    """The command that turns into a machine's init. It is run in the machine's network namespace.

    First the new process namespace; its process 1 goes into the machine's control group and only then makes the cgroup
    namespace, whose root is thereby that group.
    """
    return [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
        *(str(cgroups.WRAPPER), *map(str, group), "--"),
        *("unshare", "--cgroup", str(INIT)),
        *(str(directory / "root"), str(tree), str(directory / "upper"), str(directory / "work")),
        *(hostname, str(directory / "data"), *binds),
    ]


def stop(name: str, *, graceful: bool = True) -> None:
    """Switches the machine off: by a clean shutdown, or at once, which also ends a shutdown that takes too long."""
    with locked(name):
        record = read_record(name)
        switch_off(name, record, graceful=graceful)
        write_record(name, record)


def cut_power(name: str) -> None:
    """Switches the machine off at once and without a goodbye: its links go dark before its first process ends.

    :func:`stop` alone lets the kernel close connections on the way down, and whoever is at their other ends learns of
    the end from that. Of a machine that lost its power nobody hears anything. :func:`start` makes the links anew.
    """
    with locked(name):
        record = read_record(name)
        darken(name, record.interfaces)
        switch_off(name, record, graceful=False)
        write_record(name, record)


def switch_off(name: str, record: Record, *, graceful: bool) -> None:
    """The end of a machine, in the record as well; the caller holds the lock and writes the record."""
    if graceful and record.init is not None and record.init.alive:
        record.init.signal(_POWER_OFF)
        with contextlib.suppress(DeadlinePassed):
            wait_until(lambda: not alive(record), what=f"machine {name} shuts down", deadline_seconds=GRACE_SECONDS)
    if record.supervisor is not None:
        # Its end ends the machine's process 1, and that one's end ends all others.
        record.supervisor.signal(signal.SIGKILL)
    cgroups.kill(name)
    cgroups.remove(name)
    record.supervisor = record.init = None


def reboot(name: str, *, graceful: bool = True) -> None:
    """Stops the machine and starts it again; returns as :func:`start` does."""
    stop(name, graceful=graceful)
    start(name)


def wait_boot(name: str, *, deadline_seconds: float = BOOT_DEADLINE_SECONDS) -> Literal["running", "degraded"]:
    """Waits until systemd has worked off its start jobs, cloud-init among them; "degraded" means that a unit failed.

    Raises :class:`~lab.errors.MachineError` when the machine goes off meanwhile, :class:`~lab.errors.DeadlinePassed`
    at the deadline with what systemd said last.
    """
    seen = ""

    def booted() -> Literal["running", "degraded"] | None:
        nonlocal seen
        if not running(name):
            raise MachineError(f"machine {name} went off while booting; it said last:\n{last_words(name)}")
        # For a moment after its start it can't be entered, and on a busy machine no answer may come in time.
        with contextlib.suppress(MachineError, DeadlinePassed):
            seen = exec(name, ["systemctl", "is-system-running"]).stdout.strip()
        return _BOOTED.get(seen)

    def jobs() -> str:
        with contextlib.suppress(MachineError, DeadlinePassed):
            return f"{seen}; {exec(name, ['systemctl', 'list-jobs', '--no-legend']).stdout.strip()}"
        return f"{seen}; it does not answer"

    return wait_until(
        booted, what=f"machine {name} boots", deadline_seconds=deadline_seconds, state=jobs, every_seconds=0.1
    )


def _find_init(supervisor: Identity) -> Identity | None:
    """The machine's process 1, once it is systemd and no longer the script that builds the file system."""
    if not supervisor.alive:
        raise DeadlinePassed("the machine's first process ended")
    for pid in children(supervisor.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                return identity(pid)
    return None
