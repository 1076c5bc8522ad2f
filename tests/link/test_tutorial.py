"""What the tutorial says of clusters that run, tried on the lab by the page's own commands."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab import project
from lab.commands import wait_until
from lab.errors import CommandFailed
from lab.kubernetes import Cluster
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.topology import DEFAULT
from tests.tutorial import CONFIRMED, Shell, Typed, commands, section

pytestmark = [pytest.mark.link, pytest.mark.thorough]

ANOTHER_ADDRESS = "203.0.113.9/32"
OPENED_SECONDS = 30.0
"""For the machines' firewall to be what Hetzner was told."""


def answers(cluster: Cluster) -> bool:
    """Whether the cluster's API does, from the workstation."""
    try:
        cluster.kubectl("get", "nodes", "--request-timeout=3s", deadline_seconds=20)
    except CommandFailed:
        return False
    return True


@contextlib.contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """The file with another text in the place of one that it has; as before at the end."""
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def test_an_address_that_changed_is_let_in_by_the_command_of_the_page(
    tools: Tools, pulumi: Pulumi, clusters: Mapping[str, Cluster], tmp_path: Path
) -> None:
    (command,) = [line for line in commands(section(2)) if "--target" in line]
    shell = Shell(
        project.directory(),
        {**project.environment(tools), **CONFIRMED},
        tmp_path / "exports",
        around=project.at_workstation([]),
    )
    outputs, de = pulumi.outputs("de"), clusters["de"]
    assert answers(de)

    def typed() -> Typed:
        return shell.type(f"{command} --non-interactive --color never", deadline_seconds=300)

    own = f"{DEFAULT.workstation_site.public_address}/32"
    try:
        with changed(project.stack_file("de"), own, ANOTHER_ADDRESS):
            # As if the workstation had had the other address before. Whether this one ends well does not matter: it
            # shuts itself out in the middle.
            typed()
            wait_until(lambda: not answers(de), what="the workstation is shut out", deadline_seconds=OPENED_SECONDS)
    finally:
        start = time.monotonic()
        done = typed()
    assert time.monotonic() - start < 60.0, "it waits for the cluster"
    assert "~ 1 updated" in done.well().output
    wait_until(lambda: answers(de), what="the workstation gets in again", deadline_seconds=OPENED_SECONDS)
    assert pulumi.outputs("de") == outputs
    pulumi.run("preview", "-s", "de", "--expect-no-changes")
