"""Asking machines of one's own over SSH what they are, all at once, with nothing changed on them.

It owns the asking, for the program and for the command line alike. What the answers mean is
``domain/places/on_premise/preflight.py``'s. It logs in with OpenSSH's client, as the command provider will with its
own: with the stack's key only, and to nobody who has not the host key of the stack file.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domain.node_files import script
from domain.places.on_premise.machine_facts import MachineFacts, machine_facts
from domain.places.on_premise.model import Machine, SshSettings
from domain.places.on_premise.preflight import Look, tried

CONNECT_SECONDS: Final = 10
LOOK_SECONDS: Final = 60.0
"""For a login and the whole look; the machine tries the others at the same time, 3 s each."""
AT_ONCE: Final = 50
SSH_FAILED: Final = 255
"""ssh's own exit code, whatever has failed (ssh(1))."""
CANNOT_BE_REACHED: Final = "can't be reached over SSH"
"""How the rule of a machine begins that may only be switched off."""


class NoSshError(Exception):
    """There is no SSH client on this machine."""


@dataclass(frozen=True)
class Login:
    """Files that an SSH client logs in with: the private key, and who the machines are."""

    key: Path
    known_hosts: Path
    ssh: SshSettings

    def command(self, machine: Machine, remote: str) -> list[str]:
        """As :func:`ssh_command`."""
        address = str(machine.address)
        return ssh_command(
            self.key, self.known_hosts, user=self.ssh.user, address=address, port=self.ssh.port, remote=remote
        )


def ssh_command(key: Path, known_hosts: Path, *, user: str, address: str, port: int, remote: str) -> list[str]:
    """As the program itself logs in: with this key only, to nobody else, and without the user's own settings."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "ConnectionAttempts": "1",
        # A machine that goes in the middle is noticed, and not waited for until somebody's patience ends.
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        "LogLevel": "ERROR",
    }
    written = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return [
        *("ssh", "-F", "/dev/null", "-T", "-i", str(key), "-p", str(port), *written),
        *("-l", user, "--", address, remote),
    ]


def private_file(held: Path, key: str) -> Path:
    """The private key in a file of its own in ``held``, that only this user can read, as ssh wants it."""
    path = held / "key"
    path.touch(mode=0o600)
    path.write_text(key.rstrip("\n") + "\n", encoding="utf-8")
    return path


def login(held: Path, ssh: SshSettings, machines: Sequence[Machine], key: Path) -> Login:
    """A login with that key, whose further files are in ``held``, a directory that goes afterwards."""
    known = held / "known_hosts"
    known.write_text("".join(f"{_host(machine, ssh)} {machine.host_key}\n" for machine in machines), encoding="utf-8")
    return Login(key, known, ssh)


def _host(machine: Machine, ssh: SshSettings) -> str:
    return str(machine.address) if ssh.port == 22 else f"[{machine.address}]:{ssh.port}"


def look_at(stack: str, machines: Sequence[Machine], login: Login, *, tunnel_port: int) -> Look:
    """What all machines say of themselves, asked at the same time, and which of each other they reach, at their own
    ports and by UDP at ``tunnel_port``. Raises :class:`NoSshError`.
    """
    facts: dict[str, MachineFacts] = {}
    unasked: dict[str, tuple[str, str]] = {}
    with ThreadPoolExecutor(min(AT_ONCE, len(machines))) as pool:
        targets = [tried(machines, machine, tunnel_port=tunnel_port) for machine in machines]
        answers = pool.map(lambda asked, tries: _asked(login, asked, tries), machines, targets)
        for machine, told in zip(machines, answers, strict=True):
            if isinstance(told, MachineFacts):
                facts[machine.name] = told
            else:
                unasked[machine.name] = told
    return Look(stack, machines, facts, unasked)


def _asked(login: Login, machine: Machine, targets: Sequence[str]) -> MachineFacts | tuple[str, str]:
    """What one says, or why it can't be asked: a rule and a fix."""
    command = login.command(machine, shlex.join(["sh", "-s", "--", *targets]))
    environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            input=script("look-at-machine.sh"),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOOK_SECONDS,
        )
    except FileNotFoundError:
        raise NoSshError("there is no `ssh` on PATH (the package openssh-client)") from None
    except subprocess.TimeoutExpired:
        return f"has not said within {LOOK_SECONDS:.0f} s what it is", "see what keeps it busy, and look again"
    facts = machine_facts(done.stdout)
    if facts is not None:
        return facts
    return why_not_asked(machine, login.ssh, done.returncode, done.stderr)


def why_not_asked(machine: Machine, ssh: SshSettings, code: int, complaint: str) -> tuple[str, str]:
    """A rule and a fix for a login that came to nothing. ``complaint`` is what ssh wrote to standard error."""
    said = complaint.strip().splitlines()
    last = said[-1][-200:] if said else f"ssh ended with code {code}"
    where = f"at {machine.address}, port {ssh.port}"
    if code != SSH_FAILED:
        return f"did not say what it is: {last}", f"log in and see: `ssh -p {ssh.port} {ssh.user}@{machine.address}`"
    if "HOST IDENTIFICATION HAS CHANGED" in complaint or "Host key verification failed" in complaint:
        rule = f"is not the machine {where} that host_key names; somebody else may answer there"
        return rule, f"compare with `ssh-keyscan {machine.address}`, read on the machine itself"
    if "Permission denied" in complaint:
        rule = f"does not let {ssh.user} in with the key of the stack"
        return rule, f"add its public half to ~{ssh.user}/.ssh/authorized_keys there"
    if "invalid format" in complaint or "error in libcrypto" in complaint:
        return "was not asked: the SSH key can't be read", "set it anew, or name its file with --key"
    return f"{CANNOT_BE_REACHED} {where}: {last}", "start it, or let this machine through to it"
