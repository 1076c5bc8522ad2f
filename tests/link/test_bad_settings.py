"""A wrong stack file is refused at preview, with every mistake at once, before anything is made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import project
from lab.pulumi_command import Pulumi
from lab.topology import DEFAULT

pytestmark = pytest.mark.link

MN_PODS = str(DEFAULT.site("mn").ranges.pods)


@pytest.fixture
def preview(
    tmp_path: Path, pulumi: Pulumi
) -> Callable[[Callable[[dict[str, Any]], None]], subprocess.CompletedProcess[str]]:
    """Previews de with a changed copy of its stack file, beside the other stacks' files."""

    def run(change: Callable[[dict[str, Any]], None]) -> subprocess.CompletedProcess[str]:
        copy = tmp_path / "project"
        shutil.copytree(project.directory(), copy, symlinks=True)
        path = copy / "Pulumi.de.yaml"
        text = yaml.safe_load(path.read_text())
        change(text["config"])
        path.write_text(yaml.safe_dump(text, sort_keys=False))
        command = pulumi.command("preview", "-s", "de", "--non-interactive", "--color", "never")
        command[command.index("-C") + 1] = str(copy)
        return subprocess.run(
            command, env=project.environment(pulumi.tools), capture_output=True, text=True, timeout=300
        )

    return run


def test_every_mistake_is_told_at_once(
    preview: Callable[[Callable[[dict[str, Any]], None]], subprocess.CompletedProcess[str]],
) -> None:
    def spoil(config: dict[str, Any]) -> None:
        config["isthmus:network"]["pod_cidr"] = MN_PODS
        config["isthmus:hetzner"]["routers"] = 0
        config["isthmus:cilium"]["mtuu"] = 1280
        del config["isthmus:netbirdApiToken"]

    done = preview(spoil)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "nothing was changed" in said
    for setting in (f"network.pod_cidr {MN_PODS}", "hetzner.routers 0", "cilium.mtuu", "netbirdApiToken"):
        assert setting in said, said
    assert "mn: network.pod_cidr" in said
    assert "Traceback" not in said


def test_the_same_file_without_mistakes_passes(
    preview: Callable[[Callable[[dict[str, Any]], None]], subprocess.CompletedProcess[str]],
) -> None:
    done = preview(lambda config: None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " unchanged" in done.stdout
