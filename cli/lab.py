"""`./isthmus lab ...`: asks the lab, and prints what it answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from cli import console, reporters
from cli.errors import CANNOT, FAILED
from cli.status_text import NO_LIMIT, print_problems, print_remarks, print_status
from cli.tables import hanging, wrapped
from lab import env as lab_env
from lab import machines, preflight, project, state
from lab import sites as lab_sites
from lab import up as lab_up
from lab.status import collect
from lab.verify.results import CheckResult, exit_code
from lab.verify.run import verify as run_verify


def up(*, sites: int | None, routers: int | None, servers: int | None) -> int:
    """`lab up`."""
    reporter = reporters.reporter()
    status = lab_up.raise_lab(
        reporter,
        site_count=sites,
        routers=routers,
        servers=servers,
        colour=console.messages().is_terminal and not os.environ.get("NO_COLOR"),
    )
    out = console.results()
    print_status(out, status)
    if not status.is_up:
        print_problems(out, status)
        return FAILED
    print_remarks(out, status)
    print_next(out)
    return 0


def status(*, as_json: bool) -> int:
    """`lab status`."""
    lab_env.require_lab()
    found = collect(lab_sites.of_lab(), lab_up.tools_of_person())
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return 0 if found.is_up else FAILED
    out = console.results()
    print_status(out, found, machines_too=True)
    if not found.is_up:
        print_problems(out, found)
        return FAILED
    print_remarks(out, found)
    return 0


def verify(*, as_json: bool, only: tuple[str, ...], keep: bool) -> int:
    """`lab verify`."""
    lab_env.require_lab()
    out = console.results()
    reporter = reporters.reporter()
    results = run_verify(lab_sites.of_lab(), lab_up.tools_of_person(), reporter, only=only, keep=keep)
    if as_json:
        print(json.dumps([result.as_json() for result in results], indent=2))
        return exit_code(results)
    print_verify(out, results)
    return exit_code(results)


def env() -> int:
    """`lab env`."""
    lab_env.require_lab()
    for line in lab_env.exports(lab_up.tools_of_person()):
        print(line)
    if sys.stdout.isatty():
        console.messages().print(Text('To use it: eval "$(./isthmus lab env)"', style="dim"))
    return 0


def shell(machine: str, command: tuple[str, ...]) -> int:
    """`lab shell`."""
    lab_env.require_lab()
    if machine == "workstation":
        return lab_up.run_at_workstation(list(command) or [os.environ.get("SHELL", "/bin/bash")])
    known = sorted(machines.list_machines())
    if machine not in known:
        console.messages().print(
            Text(
                f"error: there is no machine {machine}; there are: {', '.join([*known, 'workstation'])}",
                style="bold red",
            )
        )
        return CANNOT
    return machines.shell(machine, command) if command else machines.shell(machine)


def down() -> int:
    """`lab down`."""
    if not state.STATE.exists() and lab_up.nothing_there():
        console.results().print("There is no lab.")
        return 0
    preflight.require_root("Taking the lab down")
    left = lab_up.take_down(reporters.reporter())
    for line in left:
        console.messages().print(Text(f"left: {line}", style="bold red"))
    if left:
        return FAILED
    console.results().print("The lab is gone; what was built stays in the cache for the next one.")
    return 0


# --- printing ---------------------------------------------------------------------------------------------------------


def print_next(out: Console) -> None:
    """What to try in a lab that is up."""
    out.print("Next things to try:")
    for command, what in (
        ("./isthmus lab verify", "check the link from inside the pods"),
        (
            'eval "$(./isthmus lab env)"',
            "then `pulumi preview -s de` and `kubectl --context mn get nodes` in your shell",
        ),
        ("./isthmus lab shell mn-1", "a root shell on a machine"),
        ("./isthmus lab down", "remove the lab"),
    ):
        out.print(Text.assemble("  ", (f"{command:<30}", "bold"), what))
    out.print(Text(f"The project with its stack files is {project.directory()}.", style="dim"))


def print_verify(out: Console, results: Sequence[CheckResult]) -> None:
    """Verdicts of all checks; those that failed with what was seen and what to do."""
    failed = 0
    for result in results:
        if result.status == "fail":
            failed += 1
            title = wrapped(f"{result.id} failed: {result.title}", out.width)
            out.print(Text("\n".join(["", *title]), style="bold red"))
            lines = {"observed": result.observed, "expected": result.expected, "cause": result.cause, "fix": result.fix}
            for name, text in lines.items():
                # The fix is not wrapped, so that it can be copied.
                if text:
                    out.print(Text(hanging(f"  {name + ':':<10}", text, NO_LIMIT if name == "fix" else out.width)))
    out.print(f"{len(results) - failed} of {len(results)} checks passed")
