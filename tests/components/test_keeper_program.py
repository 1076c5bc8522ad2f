"""The keeper's archive: the package, whole, and startable by Python alone."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

from components.keeper_program import PACKAGE, program
from domain.keeper import PROGRAM_LIMIT
from tests.components.recording import Run


class TestProgram:
    def test_it_is_the_package(self, mn: Run) -> None:
        data = mn.one(":ConfigMap", "isthmus-keeper-program").inputs["binaryData"]
        assert base64.b64decode(data["keeper.pyz"]) == program()
        assert len(program()) < PROGRAM_LIMIT

    def test_python_starts_it_without_anything_beside(self, tmp_path: Path) -> None:
        (tmp_path / "keeper.pyz").write_bytes(program())
        command = [sys.executable, "-I", "-S", str(tmp_path / "keeper.pyz"), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={}, timeout=50)
        assert (done.returncode, done.stderr) == (0, "")
        assert "--config" in done.stdout

    def test_another_program_is_another_pod(self, mn: Run, tmp_path: Path) -> None:
        changed_package = tmp_path / "keeper"
        changed_package.mkdir()
        for path in PACKAGE.glob("*.py"):
            (changed_package / path.name).write_bytes(path.read_bytes())
        assert program(changed_package) == program()
        (changed_package / "__main__.py").write_bytes(b"# other\n")
        assert program(changed_package) != program()
        template = mn.one(":DaemonSet", "isthmus-keeper").inputs["spec"]["template"]
        assert len(template["metadata"]["annotations"]["isthmus.dev/keeper-sha256"]) == 64
