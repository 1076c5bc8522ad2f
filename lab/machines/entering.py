"""Commands in a machine that runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from lab import cgroups
from lab.errors import DeadlinePassed, MachineError
from lab.machines.looking import init_pid

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def exec(  # noqa: A001 - what it does is known by this name
    name: str,
    argv: Sequence[str],
    *,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    deadline_seconds: float = 120.0,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a command in the machine as root and returns its exit code and output, stdout and stderr apart.

    ``check`` makes a bad exit code a :class:`~lab.errors.MachineError`. Raises :class:`~lab.errors.DeadlinePassed`
    when it does not end in time.
    """
    # Ended in the machine, with all that it has started: the end of nsenter alone would end nothing in there.
    limited = ["timeout", "--signal=KILL", f"{deadline_seconds:g}", *argv]
    start = time.monotonic()
    result = subprocess.run(
        exec_command(name, limited, environment=environment),
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    # timeout(1) kills itself as well, and nsenter then follows.
    if result.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL) and time.monotonic() - start >= deadline_seconds:
        raise DeadlinePassed(f"machine {name}: {argv[0]} did not end within {deadline_seconds:g} s")
    if check and result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip())[-2000:]
        raise MachineError(f"machine {name}: {argv[0]} ended with code {result.returncode}: {said}")
    return result


def exec_command(name: str, argv: Sequence[str], *, environment: Mapping[str, str] | None = None) -> list[str]:
    """The command, to be run on the host, that runs ``argv`` in the machine."""
    variables = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **(environment or {})}
    entering = ["nsenter", f"--target={init_pid(name)}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
    settings = [f"{key}={value}" for key, value in variables.items()]
    return cgroups.wrap(f"{name}/{cgroups.EXECUTED}", [*entering, "--", "env", "-i", "-C", "/", *settings, *argv])


def shell(name: str, argv: Sequence[str] = ("bash", "--login")) -> int:
    """Runs a shell in the machine on our terminal; returns its exit code."""
    environment = {"TERM": os.environ.get("TERM", "linux"), "USER": "root"}
    return subprocess.run(exec_command(name, argv, environment=environment), check=False).returncode
