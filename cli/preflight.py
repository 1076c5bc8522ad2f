"""`./isthmus preflight STACK`: looks at the machines of a stack over SSH, all at once, and says all that stands in the
way of their becoming nodes. It changes nothing on them.

What is asked is ``preflight/asking.py``'s, what the answers mean is ``domain/places/on_premise/preflight.py``'s.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from rich.text import Text

from cli import console
from cli.directory import print_problems, read_fleet
from cli.errors import FAILED, cannot
from cli.running import ask_pulumi
from domain.fleet import check_fleet, place_problems
from domain.places.machines import SSH_PRIVATE_KEY
from domain.places.on_premise.preflight import faults, remarks
from domain.places.registry import StackSettings
from domain.problems import shown
from domain.stack_file import stack_file_name
from preflight.asking import NoSshError, login, look_at, private_file


def preflight(directory: Path, stack: str, *, key: Path | None, as_json: bool) -> int:
    """Prints what is wrong, exit code 1, or that nothing is, exit code 0."""
    settings = _settings(directory, stack, as_json=as_json)
    if settings is None:
        return FAILED
    section = settings.on_premise
    if section is None or section.ssh is None:
        if section is None:
            cannot(f"{stack} makes its machines at Hetzner itself; there is nothing to look at over SSH.")
        cannot(f"{stack} is given by its kubeconfig; `pulumi preview -s {stack}` looks at that cluster.")
    with tempfile.TemporaryDirectory(prefix="isthmus-preflight-") as held:
        key = key or private_file(Path(held), _stored_key(stack, directory))
        if not key.is_file():
            cannot(f"there is no file {key}; --key names the file of the SSH private key.")
        try:
            entry = login(Path(held), section.ssh, section.machines, key)
            look = look_at(stack, section.machines, entry, tunnel_port=settings.cilium.tunnel_port)
        except NoSshError as error:
            cannot(f"{error}.")
    network = settings.network
    found = faults(look, node_cidr=str(network.node_cidr), pod_cidr=str(network.pod_cidr))
    problems = place_problems(read_fleet(directory), found)
    said = remarks(look, tunnel_port=settings.cilium.tunnel_port)
    if as_json:
        print(json.dumps({"problems": [problem.as_json() for problem in problems], "remarks": said}, indent=2))
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
            print(json.dumps({"problems": [problem.as_json() for problem in problems], "remarks": []}, indent=2))
        else:
            print_problems(problems)
        return None
    if stack in fleet.partial:
        cannot(f"a part of {stack} is in environments of Pulumi ESC, which Pulumi alone reads.")
    return fleet.stacks[stack]


def _stored_key(stack: str, directory: Path) -> str:
    """The stack's own SSH key, out of Pulumi's configuration."""
    command = ["pulumi", "config", "get", SSH_PRIVATE_KEY.key, "--non-interactive", "--stack", stack]
    done = ask_pulumi(command, directory, without="which keeps the SSH key; name the key's file with --key")
    if done.returncode != 0:
        cannot(f"`{' '.join(command)}` failed: {done.stderr.strip()}\nThe key's file can be named with --key.")
    return done.stdout
