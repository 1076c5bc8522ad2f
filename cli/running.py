"""What Pulumi knows of the stacks that run, for `./isthmus plan --running`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cli.errors import cannot
from domain.changes import changes_refused
from domain.fleet import Fleet, place_problems
from domain.problems import Problem

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
        cannot("there is no `pulumi` on PATH, which knows what runs; leave out --running.")
    except subprocess.TimeoutExpired:
        cannot(f"`{' '.join(command)}` has not answered within {PULUMI_DEADLINE_SECONDS:.0f} s.")
    if done.returncode != 0:
        if NO_STACK in done.stderr:
            return {}
        cannot(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    outputs = json.loads(done.stdout or "{}")
    return outputs if isinstance(outputs, Mapping) else {}
