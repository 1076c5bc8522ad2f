"""What Pulumi knows of the stacks that run, for `./isthmus plan --running`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cli.errors import cannot
from domain.changes import changes_refused
from domain.fleet import Fleet, place_problems
from domain.problems import Problem
from toolchain import processes

PULUMI_DEADLINE_SECONDS: Final = 60.0
NO_STACK: Final = "no stack named"
"""In Pulumi's answer for a stack that nobody has initialised."""


def changes(fleet: Fleet, directory: Path) -> list[Problem]:
    """Changes of the stack files that a running cluster can't follow."""
    problems = []
    for name, settings in fleet.stacks.items():
        problems += changes_refused(stack_outputs(name, directory), settings)
    return place_problems(fleet, problems)


def stack_outputs(stack: str, directory: Path) -> Mapping[str, Any]:
    """The outputs of the stack's last update, none where there was none. Secrets stay hidden."""
    command = ["pulumi", "stack", "output", "--json", "--non-interactive", "--stack", stack]
    done = ask_pulumi(command, directory, without="which knows what runs; leave out --running")
    if done.returncode != 0:
        if NO_STACK in done.stderr:
            return {}
        cannot(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    outputs = json.loads(done.stdout or "{}")
    return outputs if isinstance(outputs, Mapping) else {}


def ask_pulumi(command: Sequence[str], directory: Path, *, without: str) -> subprocess.CompletedProcess[str]:
    """What Pulumi says to a command of the project in ``directory``. ``without`` ends the sentence that there is none:
    what it is for, and how to do without.
    """
    try:
        return processes.capture(command, directory=directory, deadline_seconds=PULUMI_DEADLINE_SECONDS)
    except FileNotFoundError:
        cannot(f"there is no `pulumi` on PATH, {without}.")
    except subprocess.TimeoutExpired:
        cannot(f"`{' '.join(command)}` has not answered within {PULUMI_DEADLINE_SECONDS:.0f} s.")
