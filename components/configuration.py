"""The settings of this stack: its configuration as the engine gives it, checked together with the stack files beside
it.

It owns the reading; what is right and wrong is ``domain``'s. Nothing is registered before all of it has passed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from components.stack_outputs import last_outputs
from domain.changes import changes_refused
from domain.fleet import Fleet, check_fleet, parse_fleet, place_problems, with_common_mtus
from domain.keys import cluster_secret_fault
from domain.problems import Problem, in_file_order
from domain.settings import CLUSTER_SECRET, HCLOUD_TOKEN, StackSettings, engine_config, read_stack
from domain.stack_directory import read_stack_files
from domain.stack_file import StackFile

HCLOUD_TOKEN_LENGTH = 64


async def read_settings(directory: Path) -> StackSettings:
    """The settings of the current stack. ``directory`` holds the stack files ``Pulumi.NAME.yaml``.

    They are compared with the outputs of the stack's last update as well, since a cluster that runs can't follow every
    change. Raises ``pulumi.RunError``, which the engine shows without a traceback, with every problem of every stack
    file.
    """
    stack = pulumi.get_stack()
    values = engine_values()
    fleet = parse_fleet(read_stack_files(directory))
    # For this stack the engine's word counts: values may come from elsewhere than the file (`-c`, `--config-file`).
    own = read_stack(stack, engine_config(values))
    fleet = Fleet(
        files={**fleet.files, stack: fleet.files.get(stack, StackFile())},
        drafts=with_common_mtus({**fleet.drafts, stack: own}),
    )
    own = fleet.drafts[stack]
    problems = in_file_order([*check_fleet(fleet), *secret_problems(stack, values, fleet.files[stack])])
    if not problems:
        problems = place_problems(fleet, changes_refused(await last_outputs(stack) or {}, own.settings))
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise pulumi.RunError("\n".join([f"{count} in the stack files; nothing was changed:", *map(str, problems)]))
    return own.settings


def engine_values() -> dict[str, str]:
    """Every key and value of the stack's configuration; objects as JSON, secrets in plain."""
    return {**get_config_env(), **CONFIG.get()}


def secret_problems(stack: str, values: dict[str, Any], file: StackFile) -> list[Problem]:
    """What is wrong with the form of secrets that are there. The values never show."""
    found: list[Problem] = []
    cluster_secret = values.get(CLUSTER_SECRET.key)
    if cluster_secret is not None and (fault := cluster_secret_fault(cluster_secret)) is not None:
        fix = f"make one with `{CLUSTER_SECRET.command.format(stack=stack)}`"
        found.append(Problem(stack, "clusterSecret", "", fault, fix))
    token = values.get(HCLOUD_TOKEN.key)
    if token is not None and len(token) != HCLOUD_TOKEN_LENGTH:
        rule = f"has {len(token)} characters; Hetzner's tokens have {HCLOUD_TOKEN_LENGTH}"
        found.append(
            Problem(stack, HCLOUD_TOKEN.key, "", rule, f"set it with `{HCLOUD_TOKEN.command.format(stack=stack)}`")
        )
    return [replace(problem, line=file.line_of(problem.setting)) for problem in found]
