"""What a machine says of itself, without entering it: also of one that is off."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from lab.commands import run
from lab.errors import CommandFailed, MachineError
from lab.machines.model import Interface
from lab.machines.records import alive, home, read_record


def interfaces(name: str) -> tuple[Interface, ...]:
    """The interfaces that the machine was given."""
    return tuple(read_record(name).interfaces)


def running(name: str) -> bool:
    """True while the machine's init runs. One that shut itself down is off, and one that rebooted itself as well."""
    return (home(name) / "machine.json").exists() and alive(read_record(name))


def status(name: str) -> Literal["running", "off"]:
    """Whether the machine runs; :class:`~lab.errors.MachineError` if there is no such machine."""
    return "running" if alive(read_record(name)) else "off"


def boots(name: str) -> int:
    """How often the machine was started."""
    return read_record(name).boots


def init_pid(name: str) -> int:
    """The process id, as the host sees it, of the machine's init; :class:`~lab.errors.MachineError` when it is off."""
    record = read_record(name)
    if record.init is None or not record.init.alive:
        raise MachineError(f"machine {name} is off")
    return record.init.pid


def console(name: str) -> Path:
    """The log of the machine's console, all boots: what is said before systemd runs. The rest is in :func:`journal`."""
    return home(name) / "console.log"


def journal(name: str, *arguments: str) -> str:
    """The machine's journal, read from outside: it works for a machine that is off. Arguments are journalctl's."""
    directory = home(name) / "upper" / "var/log/journal"
    return run(["journalctl", f"--directory={directory}", "--no-pager", "--quiet", *arguments])


def host_key(name: str) -> str | None:
    """The machine's public SSH host key, Ed25519; None as long as it has none."""
    path = home(name) / "upper" / "etc/ssh/ssh_host_ed25519_key.pub"
    try:
        return " ".join(path.read_text().split()[:2])
    except FileNotFoundError:
        return None


def last_words(name: str, lines: int = 20) -> str:
    """The end of the console's log and of the journal."""
    said = ""
    with contextlib.suppress(OSError):
        said = "".join(f"{line}\n" for line in console(name).read_text(errors="replace").splitlines()[-lines:])
    with contextlib.suppress(CommandFailed):
        said += journal(name, f"--lines={lines}")
    return said
