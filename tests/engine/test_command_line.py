"""`./isthmus new` and `./isthmus plan --running` with the real `pulumi`, whose words and answers they rely on."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from domain.fleet import check_files
from domain.stack_directory import read_stack_files
from tests.domain.samples import DE, MN
from tests.engine.project import COMMAND_DEADLINE_SECONDS, REPOSITORY, Project, Result

pytestmark = pytest.mark.engine


def isthmus(project: Project, *arguments: str) -> Result:
    """The command line on this project's directory and backend."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments, "--directory", str(project.directory)],
        cwd=REPOSITORY,
        env={**project.environment, "PYTHONPATH": os.fspath(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_DEADLINE_SECONDS,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_new_initialises_the_stack_and_sets_its_secret(project: Project) -> None:
    done = isthmus(project, "new", "us", "--on-premise", "--node-cidr", "192.168.9.0/24", "--init").expect(0)

    assert done.stderr == ""
    done.says("The stack is initialised and its clusterSecret set.")
    assert "pulumi stack init" not in done.stdout
    secret = project.run("config", "get", "clusterSecret", "--stack", "us").expect(0).stdout.strip()
    assert len(bytes.fromhex(secret)) == 32
    written = (project.directory / "Pulumi.us.yaml").read_text(encoding="utf-8")
    assert secret not in written + done.output
    config: dict[str, Any] = yaml.safe_load(written)["config"]
    assert set(config["isthmus:clusterSecret"]) == {"secure"}
    # Pulumi has written into the file; it still holds all else, and only the blanks and other secrets are left.
    left = {problem.setting for problem in check_files(read_stack_files(project.directory))}
    assert left == {
        "netbirdApiToken",
        "sshPrivateKey",
        "k3s.sha256",
        *(f"on_premise.machines.{number}.{name}" for number in (0, 1) for name in ("address", "host_key")),
    }


def test_new_on_a_stack_that_pulumi_has_already(project: Project) -> None:
    project.init("de")

    done = isthmus(project, "new", "de", "--hetzner", "--init").expect(1)

    done.says("error: Pulumi could not initialise the stack: stack 'organization/isthmus/de' already exists")
    assert "clusterSecret:" not in (project.directory / "Pulumi.de.yaml").read_text(encoding="utf-8")


def test_nothing_runs_where_no_stack_is_initialised(project: Project) -> None:
    project.write("de", DE)
    project.write("mn", MN)

    done = isthmus(project, "plan", "--running").expect(0)

    assert done.stderr == ""
    done.says("de → mn")


def test_nothing_runs_where_a_stack_was_never_raised(project: Project) -> None:
    project.write("de", DE)
    project.write("mn", MN)
    project.init("de")
    project.init("mn")

    assert isthmus(project, "plan", "--running").expect(0).stderr == ""
