"""The k3s artifact: one file that runs by itself, and the same bytes for the same sources."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from lab import k3s_artifact
from tests.lab.k3s.samples import AGENT


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "k3s"
    path.parent.mkdir()
    path.write_bytes(k3s_artifact.pack())
    return path


def run(artifact: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The file as a machine has it: alone, in another directory than this checkout."""
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(artifact), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=30, cwd=artifact.parent, check=False
    )


class TestPacking:
    def test_equal_sources_give_equal_bytes_whatever_their_times_and_order(self, tmp_path: Path) -> None:
        first = tmp_path / "first"
        shutil.copytree(k3s_artifact.PACKAGE, first, ignore=shutil.ignore_patterns("__pycache__"))
        second = tmp_path / "second"
        second.mkdir(mode=0o700)
        for path in sorted(first.iterdir(), reverse=True):
            copied = second / path.name
            copied.write_bytes(path.read_bytes())
            copied.chmod(0o600)
            os.utime(copied, (0, 0))
        assert k3s_artifact.pack(first) == k3s_artifact.pack(second) == k3s_artifact.pack()

    def test_it_names_no_time_and_its_members_in_order(self) -> None:
        members = zipfile.ZipFile(io.BytesIO(k3s_artifact.pack())).infolist()
        assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
        names = [member.filename for member in members]
        assert "lab/standins/k3s/node.py" in names
        assert names == sorted(names)

    def test_another_source_gives_other_bytes(self, tmp_path: Path) -> None:
        package = tmp_path / "k3s"
        shutil.copytree(k3s_artifact.PACKAGE, package)
        with (package / "layout.py").open("a") as file:
            file.write("# changed\n")
        assert k3s_artifact.pack(package) != k3s_artifact.pack()

    def test_the_machines_python_runs_it(self) -> None:
        assert k3s_artifact.pack().startswith(b"#!/usr/bin/python3\n")


class TestCommandLine:
    def test_version(self, artifact: Path) -> None:
        result = run(artifact, "--version")
        assert (result.returncode, result.stdout, result.stderr) == (0, "k3s version v1.34.2+k3s1 (stand-in)\n", "")

    def test_every_module_comes_out_of_the_file(self, artifact: Path) -> None:
        """None is taken from a checkout that happens to be there, and none is missing."""
        names = sorted(path.stem for path in k3s_artifact.PACKAGE.glob("*.py") if not path.stem.startswith("__"))
        assert "node" in names
        script = "\n".join(f"import lab.standins.k3s.{name} as m; print(m.__file__)" for name in names)
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(artifact)!r})\n{script}"],
            capture_output=True,
            text=True,
            cwd=artifact.parent,
            timeout=30,
            check=True,
        )
        assert done.stdout.split() == [f"{artifact}/lab/standins/k3s/{name}.py" for name in names]

    def test_a_wrong_config_is_one_line_and_code_1(self, artifact: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(AGENT | {"nod-ip": "x"}))
        result = run(artifact, "agent", "--config", str(config))
        assert result.returncode == 1
        assert result.stderr == (
            'level=fatal msg="unknown setting nod-ip: k3s agent has no such flag, or this stand-in does not do it"\n'
        )

    def test_an_unknown_flag_is_refused(self, artifact: Path) -> None:
        result = run(artifact, "server", "--tls-san", "x")
        assert result.returncode == 1
        assert "unknown flag --tls-san" in result.stderr

    def test_by_the_name_of_a_link_it_is_that_client(self, artifact: Path) -> None:
        link = artifact.with_name("kubectl")
        link.symlink_to("k3s")
        result = run(link, "get", "nodes")
        assert result.returncode == 1
        assert result.stderr == 'level=fatal msg="/usr/libexec/isthmus-lab/kubectl is not on this machine"\n'

    def test_a_machine_without_the_programs_is_told_which(self, artifact: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(AGENT))
        result = run(artifact, "agent", "--config", str(config))
        assert result.returncode == 1
        assert "missing on this machine: /usr/libexec/isthmus-lab/kubelet" in result.stderr
