"""`./isthmus preflight STACK`: looks at the machines of a stack over SSH, all at once, and says all that stands in the
way of their becoming nodes. It changes nothing on them.

It owns the asking. What the answers mean is ``domain/places/on_premise/preflight.py``'s.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.text import Text

from cli import console
from cli.directory import print_problems, read_fleet
from cli.errors import FAILED, cannot
from cli.running import PULUMI_DEADLINE_SECONDS
from domain.fleet import check_fleet, place_problems
from domain.node_files import script
from domain.places.machines import SSH_PRIVATE_KEY
from domain.places.on_premise.machine_facts import MachineFacts, machine_facts
from domain.places.on_premise.model import Machine, SshSettings
from domain.places.on_premise.preflight import Look, faults, remarks, tried
from domain.places.registry import StackSettings
from domain.problems import shown
from domain.stack_file import stack_file_name

CONNECT_SECONDS: Final = 10
LOOK_SECONDS: Final = 60.0
"""For a login and the whole look; the machine tries the others at the same time, 3 s each."""
AT_ONCE: Final = 50
SSH_FAILED: Final = 255
"""ssh's own exit code, whatever has failed (ssh(1))."""


@dataclass(frozen=True)
class Login:
    """Files that an SSH client logs in with: the private key, and who the machines are."""

    key: Path
    known_hosts: Path
    ssh: SshSettings

    def command(self, machine: Machine, remote: str) -> list[str]:
        """As the program itself logs in: with this key only, to nobody else, and without the user's own settings."""
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ConnectionAttempts": "1",
            "LogLevel": "ERROR",
        }
        written = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [
            *("ssh", "-F", "/dev/null", "-T", "-i", str(self.key), "-p", str(self.ssh.port), *written),
            *("-l", self.ssh.user, "--", str(machine.address), remote),
        ]


def preflight(directory: Path, stack: str, *, key: Path | None, as_json: bool) -> int:
    """Prints what is wrong, exit code 1, or that nothing is, exit code 0."""
    settings = _settings(directory, stack, as_json=as_json)
    if settings is None:
        return FAILED
    section = settings.on_premise
    if section is None or section.ssh is None:
        what = "makes its machines at Hetzner itself" if section is None else "is given by its kubeconfig"
        cannot(f"{stack} {what}; there is nothing to look at over SSH.")
    with tempfile.TemporaryDirectory(prefix="isthmus-preflight-") as held:
        login = _login(Path(held), section.ssh, section.machines, key or _stored_key(Path(held), stack, directory))
        look = look_at(stack, section.machines, login)
    network = settings.network
    found = faults(look, node_cidr=str(network.node_cidr), pod_cidr=str(network.pod_cidr))
    problems = place_problems(read_fleet(directory), found)
    said = remarks(look)
    if as_json:
        print(json.dumps({"problems": [one.as_json() for one in problems], "remarks": said}, indent=2))
    else:
        for remark in said:
            console.messages().print(Text(f"note: {remark}", style="dim"))
        if problems:
            print_problems(problems, "with these machines; nothing was changed on them.")
        else:
            number = len(section.machines)
            machines = "1 machine" if number == 1 else f"{number} machines"
            console.results().print(Text(f"{machines} looked at; nothing stands in the way, and nothing was changed."))
    return FAILED if problems else 0


def _settings(directory: Path, stack: str, *, as_json: bool) -> StackSettings | None:
    """The settings of the stack; None where some file is wrong, which is told."""
    fleet = read_fleet(directory)
    if stack not in fleet.files:
        there = ", ".join(map(shown, fleet.files)) or "none"
        cannot(f"there is no {stack_file_name(shown(stack))} in {directory}; stacks there: {there}.")
    if problems := check_fleet(fleet):
        if as_json:
            print(json.dumps({"problems": [one.as_json() for one in problems], "remarks": []}, indent=2))
        else:
            print_problems(problems)
        return None
    if stack in fleet.partial:
        cannot(f"a part of {stack} is in environments of Pulumi ESC, which Pulumi alone reads.")
    return fleet.stacks[stack]


def _stored_key(held: Path, stack: str, directory: Path) -> Path:
    """The stack's own SSH key, out of Pulumi's configuration, in a file that only this user can read."""
    command = ["pulumi", "config", "get", SSH_PRIVATE_KEY.key, "--non-interactive", "--stack", stack]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PULUMI_DEADLINE_SECONDS,
        )
    except FileNotFoundError:
        cannot("there is no `pulumi` on PATH, which keeps the SSH key; name the key's file with --key.")
    except subprocess.TimeoutExpired:
        cannot(f"`{' '.join(command)}` has not answered within {PULUMI_DEADLINE_SECONDS:.0f} s; --key names a file.")
    if done.returncode != 0:
        cannot(f"`{' '.join(command)}` failed: {done.stderr.strip()}\nThe key's file can be named with --key.")
    path = held / "key"
    path.touch(mode=0o600)
    path.write_text(done.stdout.rstrip("\n") + "\n", encoding="utf-8")
    return path


def _login(held: Path, ssh: SshSettings, machines: Sequence[Machine], key: Path) -> Login:
    if not key.is_file():
        cannot(f"there is no file {key}; --key names the file of the SSH private key.")
    known = held / "known_hosts"
    known.write_text("".join(f"{_host(machine, ssh)} {machine.host_key}\n" for machine in machines), encoding="utf-8")
    return Login(key, known, ssh)


def _host(machine: Machine, ssh: SshSettings) -> str:
    return str(machine.address) if ssh.port == 22 else f"[{machine.address}]:{ssh.port}"


def look_at(stack: str, machines: Sequence[Machine], login: Login) -> Look:
    """What all machines say of themselves, asked at the same time."""
    facts: dict[str, MachineFacts] = {}
    unasked: dict[str, tuple[str, str]] = {}
    with ThreadPoolExecutor(min(AT_ONCE, len(machines))) as pool:
        for machine, told in zip(
            machines, pool.map(lambda one: _asked(login, one, tried(machines, one)), machines), strict=True
        ):
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
        cannot("there is no `ssh` on PATH (the package openssh-client).")
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
    return f"can't be reached over SSH {where}: {last}", "start it, or let this machine through to it"
