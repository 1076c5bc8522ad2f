"""What a test is told of a `pulumi` that does not end: the last that it said, and where its program hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.domain.samples import MN
from tests.engine.project import Project

pytestmark = pytest.mark.engine

HANGS = """
import time

import pulumi


def waits_for_nothing() -> None:
    time.sleep(3600)


pulumi.log.info("it has begun")
waits_for_nothing()
"""


def test_it_says_where_and_locks_nobody_out(project: Project, de: dict[str, Any], tmp_path: Path) -> None:
    project.write("de", de)
    project.write("mn", MN)
    project.init("de")
    program = tmp_path / "hangs.py"
    program.write_text(HANGS, encoding="utf-8")
    project.runs(program)
    with pytest.raises(AssertionError) as failed:
        project.run("up", "-s", "de", "--yes", "--skip-preview", deadline_seconds=15.0)
    for words in (
        "`pulumi up -s de --yes --skip-preview` did not end within 15 s",
        "it has begun",
        "waits_for_nothing",
    ):
        assert words in str(failed.value)
    program.write_text("", encoding="utf-8")
    project.run("up", "-s", "de", "--yes", "--skip-preview").expect(0)
