"""The settings of this stack: its configuration as the engine gives it, checked together with the stack files beside
it.

It owns the reading; what is right and wrong is ``domain``'s. Nothing is registered before all of it has passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from components.stack_outputs import last_outputs
from domain.changes import changes_refused, machines_that_leave
from domain.fleet import (
    Fleet,
    check_fleet,
    parse_fleet,
    place_problems,
    with_common_mtus,
    with_secrets_of_project,
)
from domain.places.outputs import RAISED_WITH
from domain.places.registry import StackSettings
from domain.problems import Problem, count_of, in_file_order
from domain.project_file import in_our_namespace
from domain.reading import engine_config, read_stack, whole
from domain.secret_rules import secret_value_problems
from domain.settings.draft import known
from domain.stack_directory import read_project, read_stack_files
from domain.stack_file import StackFile


@dataclass(frozen=True)
class StackConfiguration:
    """The settings of a stack that have passed every check, and what they were checked with: the files of the fleet,
    the values of the configuration (secrets in plain), and the outputs of the stack's last update.
    """

    settings: StackSettings
    fleet: Fleet
    values: Mapping[str, str] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)

    def refusal(self, problems: Sequence[Problem], where: str = "in the stack files") -> pulumi.RunError:
        """The error that tells problems which show later, in the form of all others."""
        return _refusal(place_problems(self.fleet, problems), where)


async def read_configuration(directory: Path) -> StackConfiguration:
    """The configuration of the current stack. ``directory`` holds the stack files ``Pulumi.NAME.yaml``.

    The settings are compared with the outputs of the stack's last update as well, since a cluster that runs can't
    follow every change. Raises ``pulumi.RunError``, which the engine shows without a traceback, with every problem of
    every stack file.
    """
    stack = pulumi.get_stack()
    values = engine_values()
    fleet = parse_fleet(read_stack_files(directory), read_project(directory))
    # For this stack the engine's word counts: values may come from elsewhere than the file (`-c`, `--config-file`). But
    # a file that is refused as such is told of as it stands: the engine doesn't see what stands in a wrong place, and
    # has decrypted what no message may show.
    file = fleet.files.get(stack, StackFile())
    told = stack in fleet.drafts and (file.misplaced or file.problems)
    own = fleet.drafts[stack] if told else read_stack(stack, engine_config(values))
    own = with_secrets_of_project(own, file, fleet.in_project)
    fleet = replace(
        fleet,
        # What environments of Pulumi ESC bring, the engine has brought.
        files={**fleet.files, stack: replace(file, environment=False)},
        drafts=with_common_mtus({**fleet.drafts, stack: own}),
    )
    own = fleet.drafts[stack]
    outputs = await last_outputs(stack) or {}
    problems = check_fleet(fleet, {stack} if RAISED_WITH in outputs else ())
    refused = {problem.setting for problem in problems if problem.stack == stack}
    # One word about each: what stands in plain text has to be made anew, whatever its form is.
    secrets = [
        problem
        for problem in secret_value_problems(stack, values, known(own.settings, "on_premise", "kubeconfig", "context"))
        if problem.setting not in refused
    ]
    if problems := in_file_order([*problems, *place_problems(fleet, secrets)]):
        raise _refusal(problems)
    settings = whole(own)
    if problems := place_problems(fleet, changes_refused(outputs, settings)):
        raise _refusal(problems)
    for line in words_of_leave(stack, settings, machines_that_leave(outputs, settings)):
        pulumi.log.info(line)
    return StackConfiguration(settings, fleet, values, outputs)


def _refusal(problems: Sequence[Problem], where: str = "in the stack files") -> pulumi.RunError:
    number = count_of(problems)
    count = "a problem" if number == 1 else f"{number} problems"
    return pulumi.RunError("\n".join([f"{count} {where}; nothing was changed:", *map(str, problems)]))


def words_of_leave(stack: str, settings: StackSettings, machines: Mapping[str, str]) -> list[str]:
    """What a person should know of the machines that leave, before the engine tries to reach them."""
    said = []
    for name, address in sorted(machines.items()):
        way = (
            f"k3s is taken off {address} over SSH, last of all. If that fails because the machine is gone for good, "
            f"`pulumi state delete URN -s {stack}` ends it, for the two of {name} that `pulumi stack -s {stack} "
            "--show-urns` lists: first without, then with '-uninstall' at its end"
            if settings.on_premise is not None
            else "its server is deleted"
        )
        said.append(f"{stack}: {name} leaves: its pods go first, then its Node, and {way}")
    return said


def engine_values() -> dict[str, str]:
    """Every key and value of the stack's configuration; objects as JSON, secrets in plain. Settings of
    ours are in our namespace, whatever the project is called.
    """
    project = pulumi.get_project()
    return {in_our_namespace(key, project): value for key, value in {**get_config_env(), **CONFIG.get()}.items()}
