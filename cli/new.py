"""`./isthmus new`: writes a stack file for another cluster, never over one, and says what is left to do.

Pulumi's backend is touched only when asked (``init``).
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from rich.text import Text

from cli import console
from cli.directory import CHECKOUT, read_fleet
from cli.errors import FAILED, cannot
from domain.settings.secrets import CLUSTER_SECRET
from domain.stack_file import stack_file_name
from domain.starter import PEERS_BY_DEFAULT, Starter, starter
from domain.values.addresses import cidr
from domain.values.rule_error import RuleError

PULUMI_DEADLINE_SECONDS: Final = 120.0
WRONG_USAGE: Final = 2
"""As typer ends for a wrong option."""
LOCATION: Final = "fsn1"
CLUSTER_SECRET_BYTES: Final = 32


@dataclass(frozen=True)
class Answer:
    """What came of a call of Pulumi: ``said`` is its reason where it failed, ``initialised`` tells of the stack."""

    good: bool
    said: str = ""
    initialised: bool = False


Pulumi = Callable[[Sequence[str], Path, str], Answer]


def new(
    name: str,
    place: str | None,
    directory: Path,
    *,
    peers: Sequence[str] | None,
    location: str | None = None,
    node_cidr: str | None = None,
    init: bool = False,
) -> int:
    """Writes the file and prints what is left. ``init``: the stack is initialised and its secret set as well.

    Exit code 1 where the file is there and Pulumi could not do its part.
    """
    if place is None:
        return _wrong_usage("one of --hetzner and --on-premise is needed, and only one.")
    if place == "hetzner" and node_cidr is not None:
        return _wrong_usage("--node-cidr is the LAN of machines on-premise; at Hetzner a free range is taken.")
    if place == "on_premise" and location is not None:
        return _wrong_usage("--location is Hetzner's; leave it out with --on-premise.")
    fleet = read_fleet(directory)
    made = starter(name, place, fleet, peers=peers, location=location or LOCATION, node_cidr=_lan(node_cidr))
    if not isinstance(made, Starter):
        for problem in made:
            console.messages().print(Text.assemble(("error: ", "bold red"), str(problem)))
        return FAILED
    path = directory / stack_file_name(name)
    try:
        # Never over a file, not even one that has come into being since we looked.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        cannot(f"{path} is there already, and is not overwritten; take another name.")
    except OSError as error:
        cannot(f"{path} can't be written: {error.strerror}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(made.text)
    except OSError as error:
        path.unlink()  # half of a file is nothing to go on with
        cannot(f"{path} can't be written: {error.strerror}.")
    answer = set_cluster_secret(name, directory) if init else None
    print_next(made, path, answer)
    return FAILED if answer is not None and not answer.good else 0


def _wrong_usage(text: str) -> int:
    console.messages().print(Text.assemble(("error: ", "bold red"), text))
    return WRONG_USAGE


def _lan(text: str | None) -> IPv4Network | None:
    if text is None:
        return None
    try:
        return cidr(text)
    except RuleError as broken:
        cannot(f"--node-cidr {text} {broken.rule}; {broken.fix or 'write it like 192.168.7.0/24'}.")


def set_cluster_secret(name: str, directory: Path, pulumi: Pulumi | None = None) -> Answer:
    """Initialises the stack and sets a new clusterSecret. The value goes in by standard input and shows nowhere."""
    call = pulumi or _pulumi
    if pulumi is None and shutil.which("pulumi") is None:
        return Answer(False, "there is no `pulumi` on PATH")
    if not (directory / "Pulumi.yaml").is_file():
        return Answer(False, f"there is no Pulumi.yaml in {directory}")
    made = call(["stack", "init", "--non-interactive", "--no-select", "--stack", name], directory, "")
    if not made.good:
        return made
    key = CLUSTER_SECRET.key.partition(":")[2]
    done = call(
        ["config", "set", "--non-interactive", "--secret", key, "--stack", name],
        directory,
        secrets.token_hex(CLUSTER_SECRET_BYTES),
    )
    return Answer(done.good, done.said, initialised=True)


def _pulumi(arguments: Sequence[str], directory: Path, standard_input: str) -> Answer:
    try:
        done = subprocess.run(
            ["pulumi", *arguments],
            cwd=directory,
            input=standard_input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PULUMI_DEADLINE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(False, f"`pulumi {arguments[0]} {arguments[1]}` did not end well ({type(error).__name__})")
    if done.returncode == 0:
        return Answer(True)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Answer(False, lines[-1].removeprefix("error: ") if lines else f"pulumi ended with code {done.returncode}")


def print_next(made: Starter, path: Path, answer: Answer | None) -> None:
    """What was made, and what is left: blanks, secrets, other files, commands. ``answer``: None where Pulumi was not to
    be asked.
    """
    out = console.results()
    out.print(Text.assemble("Wrote ", (str(path), "bold"), "."))
    for setting, network in made.ranges.items():
        out.print(Text(f"  {setting:<22} {network}"))
    secret_set, initialised = answer is not None and answer.good, answer is not None and answer.initialised
    if secret_set:
        out.print("The stack is initialised and its clusterSecret set.")
    elif answer is not None:
        what = "set the stack's clusterSecret" if initialised else "initialise the stack"
        console.messages().print(Text.assemble(("error: ", "bold red"), f"Pulumi could not {what}: {answer.said}"))
    out.print("\nWhat is left:")
    for number, (title, lines) in enumerate(_steps(made, path, secret_set, initialised), start=1):
        out.print(Text(f"{number}. {title}"))
        for line in lines:
            out.print(Text(f"     {line}"))


def _steps(made: Starter, path: Path, secret_set: bool, initialised: bool) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of each."""
    stack = shlex.quote(made.stack)
    if path.parent.resolve() != Path.cwd():
        yield "Go to where the stack files lie:", [f"cd {shlex.quote(str(path.parent.resolve()))}"]
    if made.blanks:
        # The secret has moved lines: Pulumi writes it into the same file.
        yield f"Fill in {path.name}:", [f"{blank.setting}: {blank.meaning}" for blank in made.blanks]
    commands = [] if initialised else [f"pulumi stack init {stack}"]
    commands += [
        secret.command.format(stack=stack) for secret in made.secrets if secret != CLUSTER_SECRET or not secret_set
    ]
    yield "Set the secrets:", commands
    if made.unlinked:
        yield (
            f"Say whom it links with (nobody is chosen among more than {PEERS_BY_DEFAULT}):",
            [f"isthmus:peers of {path.name}, and {made.stack} in that of each of them"],
        )
    if made.missing_peers:
        yield "Make the stack files of its peers:", [stack_file_name(peer) for peer in made.missing_peers]
    if made.peer_lines:
        yield "Let the other stacks list this one:", [str(line) for line in made.peer_lines]
    isthmus = "./isthmus" if (path.parent / "isthmus").is_file() else shlex.quote(str(CHECKOUT / "isthmus"))
    yield "Look at the plan, then raise it:", [f"{isthmus} plan", f"pulumi up -s {stack}"]
