"""``python -m toolchain``, and what the package shows to its users."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

import toolchain
from toolchain import RECIPES
from toolchain.__main__ import main
from toolchain.recipes import REPOSITORY


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(RECIPES)
    assert rows[list(RECIPES).index("etcd")] == {
        "name": "etcd",
        "version": "3.6.5",
        "files": ["etcd"],
        "path": None,
        "way": None,
        "seconds": None,
    }


def test_path_of_what_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["path", "etcd"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "etcd is not ready; run `python -m toolchain ensure etcd`.\n"


@pytest.mark.parametrize("arguments", [["path", "docker"], ["ensure", "etcd", "docker"]])
def test_an_unknown_tool(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: There is no tool 'docker'; the tools are pulumi, ")


def test_ensure_prints_a_line_for_each_tool(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolchain.__main__.ensure", lambda names, **_: {name: f"/cache/{name}" for name in names})
    assert main(["ensure", "etcd", "coredns"]) == 0
    assert capsys.readouterr().out == "etcd\t/cache/etcd\ncoredns\t/cache/coredns\n"
    assert main(["ensure", "all", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{name}\t/cache/{name}" for name in RECIPES]


def test_it_runs_on_python_alone() -> None:
    """Without site-packages, as before there is a virtual environment."""
    result = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-m", "toolchain", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ISTHMUS_TOOLCHAIN=installed|download|build" in " ".join(result.stdout.split())


def test_the_public_face_is_what_it_says() -> None:
    public = {
        name for name, value in vars(toolchain).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public - {"annotations"} == set(toolchain.__all__)
