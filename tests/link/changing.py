"""Changing settings of the lab's stacks for a while: stack files, `pulumi up` of several stacks, what it did."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import yaml

from lab import project
from lab import up as lab_up
from lab.inside import http_request
from lab.pulumi_command import Pulumi
from lab.topology import HETZNER_ADDRESS, WORKSTATION_NAMESPACE
from tests.domain.samples import changed

UP_SECONDS: Final = 600.0
UNCHANGED: Final = ("same", "read")
"""Operations that change nothing."""


def config_of(stack: str) -> dict[str, Any]:
    """The config of the stack's file in the lab's project."""
    config: dict[str, Any] = yaml.safe_load(project.stack_file(stack).read_text(encoding="utf-8"))["config"]
    return config


def change_settings(stack: str, changes: Mapping[str, Any]) -> None:
    """Puts settings of the stack's file to other values; paths as :func:`tests.domain.samples.changed` has them."""
    path = project.stack_file(stack)
    present = yaml.safe_load(path.read_text(encoding="utf-8"))
    text = {**present, "config": changed(present["config"], changes)}
    path.write_text(yaml.safe_dump(text, sort_keys=False, width=120), encoding="utf-8")


@contextlib.contextmanager
def stack_files_kept(stacks: Iterable[str]) -> Iterator[None]:
    """The stack files are after the block what they were before it."""
    before = {path: path.read_bytes() for path in map(project.stack_file, stacks)}
    try:
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def up(pulumi: Pulumi, stacks: Iterable[str]) -> dict[str, dict[str, int]]:
    """`pulumi up` of these stacks at the same time; how many resources each has treated how (``same``, ``update``...).

    Raises :class:`~lab.errors.CommandFailed` with all that Pulumi said when one fails.
    """

    def raised(stack: str) -> dict[str, int]:
        pulumi.run("up", "--yes", "--skip-preview", "-s", stack, deadline_seconds=UP_SECONDS)
        return last_changes(pulumi, stack)

    names = list(stacks)
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(raised, names), strict=True))


def last_changes(pulumi: Pulumi, stack: str) -> dict[str, int]:
    """What the stack's last update did, by the engine's own record: operation -> number of resources."""
    history = json.loads(pulumi.run("stack", "history", "--json", "--page-size", "1", "-s", stack).stdout)
    assert history[0]["result"] == "succeeded", history[0]
    changes: dict[str, int] = history[0]["resourceChanges"]
    return changes


def previewed(pulumi: Pulumi, stack: str) -> dict[str, str]:
    """What a preview would do: type and name of each resource that does not stay as it is -> operation.

    A peer's outputs are read each time, which changes nothing.
    """
    told = json.loads(pulumi.run("preview", "--json", "-s", stack).stdout)
    return {" ".join(step["urn"].split("::")[-2:]): step["op"] for step in told["steps"] if step["op"] not in UNCHANGED}


def changes_ahead(pulumi: Pulumi, stacks: Iterable[str]) -> dict[str, dict[str, str]]:
    """:func:`previewed` of these stacks at the same time; only those for which something would be done."""
    names = list(stacks)
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        found = dict(zip(names, pool.map(lambda stack: previewed(pulumi, stack), names), strict=True))
    return {stack: steps for stack, steps in found.items() if steps}


def begin_up(pulumi: Pulumi, stack: str, *arguments: str) -> subprocess.Popen[str]:
    """A `pulumi up` that goes on; all that it says is on its standard output."""
    return subprocess.Popen(
        pulumi.command("up", "--yes", "-s", stack, "--non-interactive", "--color", "never", *arguments),
        env=project.environment(pulumi.tools),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def at_hetzner(kind: str) -> list[dict[str, Any]]:
    """All resources of a kind (``servers``, ``servers/1/actions``...) at the Hetzner stand-in."""
    token = lab_up.hetzner_token_file().read_text().strip()
    answer = http_request(
        WORKSTATION_NAMESPACE,
        "GET",
        str(HETZNER_ADDRESS),
        80,
        f"/v1/{kind}?per_page=50",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.json()[kind.rpartition("/")[2]]
    return found


def policy_body(whole: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A policy of NetBird's API as the API takes it back, with changes to its rules."""
    rules = []
    for rule in whole["rules"]:
        made = {key: value for key, value in rule.items() if value is not None}
        for side in ("sources", "destinations"):
            if side in made:
                made[side] = [group["id"] for group in made[side]]
        rules.append({**made, **changes})
    return {
        "name": whole["name"],
        "description": whole.get("description", ""),
        "enabled": changes.get("enabled", True),
        "rules": rules,
    }
