"""`./isthmus --version`: at once, and without an environment or a network."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from cli.app import app
from domain.version import VERSION

REPOSITORY = Path(__file__).resolve().parents[2]
BUDGET_SECONDS = 1.0
SAID = f"isthmus {VERSION}\n"


def test_it_is_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_the_command_line_prints_it() -> None:
    done = CliRunner().invoke(app, ["--version"], prog_name="isthmus")
    assert (done.exit_code, done.output) == (0, SAID)


def test_the_wrapper_prints_it_where_there_is_nothing_but_python(tmp_path: Path) -> None:
    """Without lock files no environment can be made, and without one there are no packages."""
    shutil.copy(REPOSITORY / "isthmus", tmp_path)
    (tmp_path / "domain").mkdir()
    for name in ("__init__.py", "version.py"):
        shutil.copy(REPOSITORY / "domain" / name, tmp_path / "domain")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "isthmus"), "--version"],
        cwd=os.sep,
        env={},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout, done.stderr) == (0, SAID, "")
    assert not (tmp_path / ".venv").exists()
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < BUDGET_SECONDS
