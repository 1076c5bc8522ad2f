"""A project of another name, with its stack files in a directory and settings that all of them share, is previewed by
the engine as any other.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.domain.samples import changed
from tests.engine.project import Project
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = pytest.mark.engine

PROJECT = """name: other
runtime: {name: python, options: {toolchain: pip, virtualenv: .venv}}
stackConfigDir: stacks
config:
  k3s: {type: object}
"""


def test_another_name_and_another_directory(project: Project, hetzner: StandIn, de: dict[str, Any]) -> None:
    project.write("de", changed(de, {"peers": []}))
    content = project.directory / "Pulumi.de.yaml"
    document = yaml.safe_load(content.read_text(encoding="utf-8"))
    content.unlink()
    renamed = {key.replace("isthmus:", "other:"): value for key, value in document["config"].items()}
    k3s = renamed.pop("other:k3s")
    (project.directory / "Pulumi.yaml").unlink()
    shared = PROJECT.replace("{type: object}", f"{{type: object, default: {k3s}}}")
    (project.directory / "Pulumi.yaml").write_text(shared, encoding="utf-8")
    (project.directory / "stacks").mkdir()
    file = project.directory / "stacks" / "Pulumi.de.yaml"
    file.write_text(yaml.safe_dump({**document, "config": renamed}), encoding="utf-8")
    project.run("stack", "init", "de").expect(0)

    shown = project.run("preview", "-s", "de").expect(0)
    assert "isthmus:hetzner:HetznerMachines" in shown.stdout

    wrong = {**renamed, "other:hetzner": {**renamed["other:hetzner"], "routers": 0}}
    file.write_text(yaml.safe_dump({**document, "config": wrong}), encoding="utf-8")
    refused = project.run("preview", "-s", "de")
    assert refused.code != 0
    assert "de: hetzner.routers 0 gives nothing that would carry the link" in refused.output
