"""What the real engine shows of a machine that can't be logged in to, before anything is done to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.domain.samples import MN, changed
from tests.engine.project import Project

pytestmark = pytest.mark.engine


def test_an_agent_that_is_gone(project: Project, tmp_path: Path) -> None:
    """The hook of the first machine ends the `up` in words, and no machine counts as installed."""
    project.write("mn", changed(MN, {"peers": []}))
    project.init("mn")
    gone = str(tmp_path / "agent")
    targets = [
        f"--target=**{name}"
        for name in (
            *("JoinedCluster::mn", "::command", "::machines"),
            *("mn-1-uninstall", "mn-2-uninstall", "::machines-mn-1"),
        )
    ]
    up = ("up", "-s", "mn", "--yes", "--skip-preview", *targets)

    refused = project.run(*up, environment={"SSH_AUTH_SOCK": gone}).expect(1)

    refused.says(f"mn-1: SSH_AUTH_SOCK is {gone}, where no SSH agent answers (No such file or directory)")
    refused.says("Run `unset SSH_AUTH_SOCK`, then the same command again")
    assert "Traceback" not in refused.output
    commands = {
        resource["urn"].rpartition("::")[2]
        for resource in project.resources("mn")
        if resource["type"].endswith(":Command")
    }
    assert commands <= {"machines-mn-1-uninstall", "machines-mn-2-uninstall"}
