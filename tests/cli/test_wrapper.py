"""The wrapper `./isthmus`: when it makes the environment, and what it says when it can't."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

WRAPPER = Path(__file__).resolve().parents[2] / "isthmus"
ENVIRONMENT_TIMEOUT_SECONDS = 300.0
"""A venv with pip in it: some 5 s, and as long as a busy machine takes."""


def wrapper_of(checkout: Path) -> ModuleType:
    """The wrapper as a module of its own, for a checkout with small lock files."""
    loader = importlib.machinery.SourceFileLoader("isthmus_wrapper", str(WRAPPER))
    spec = importlib.util.spec_from_loader("isthmus_wrapper", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        loader.exec_module(module)
    places = {"ROOT": checkout, "VENV": checkout / ".venv", "STAMP": checkout / ".venv/.isthmus-stamp"}
    vars(module).update({name: str(path) for name, path in places.items()})
    (checkout / "requirements.txt").write_text("")
    (checkout / "requirements-dev.txt").write_text("")
    return module


@pytest.fixture
def wrapper(tmp_path: Path) -> ModuleType:
    """The wrapper of a checkout without an environment."""
    return wrapper_of(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The wrapper of a checkout whose environment it has made, which takes seconds."""
    module = wrapper_of(tmp_path_factory.mktemp("checkout"))
    module.install(["requirements.txt"])
    return module


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["requirements.txt"]),
        (["lab", "up"], ["requirements.txt"]),
        (["--help"], ["requirements.txt"]),
        (["check"], ["requirements.txt", "requirements-dev.txt"]),
        (["test", "unit"], ["requirements.txt", "requirements-dev.txt"]),
        (["lab", "shell", "test"], ["requirements.txt"]),
    ],
)
def test_only_developers_commands_take_developers_packages(
    wrapper: ModuleType, arguments: list[str], names: list[str]
) -> None:
    assert wrapper.requirement_files(arguments) == names


def write_stamp(wrapper: ModuleType, names: list[str]) -> None:
    Path(wrapper.VENV).mkdir(exist_ok=True)
    Path(wrapper.STAMP).write_text("\n".join(wrapper.stamp_lines(names)))


def test_an_environment_serves_until_what_it_was_made_from_changes(wrapper: ModuleType, tmp_path: Path) -> None:
    both = ["requirements.txt", "requirements-dev.txt"]
    assert not wrapper.is_ready(["requirements.txt"])
    write_stamp(wrapper, ["requirements.txt"])
    assert wrapper.is_ready(["requirements.txt"])
    assert not wrapper.is_ready(both)
    write_stamp(wrapper, both)
    assert wrapper.is_ready(["requirements.txt"])
    (tmp_path / "requirements.txt").write_text("pydantic==2.0\n")
    assert not wrapper.is_ready(["requirements.txt"])


def test_a_moved_checkout_gets_a_new_environment(
    wrapper: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stamp(wrapper, ["requirements.txt"])
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "requirements.txt").write_text("")
    monkeypatch.setattr(wrapper, "ROOT", str(moved))
    assert not wrapper.is_ready(["requirements.txt"])


@pytest.mark.timeout(ENVIRONMENT_TIMEOUT_SECONDS)
def test_an_environment_is_made_and_serves_from_any_folder(made: ModuleType, tmp_path: Path) -> None:
    checkout = Path(made.ROOT)
    assert made.is_ready(["requirements.txt"])
    (checkout / "cli").mkdir()
    (checkout / "cli/__main__.py").write_text("import os; print('in', os.getcwd())")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "cli").mkdir(parents=True)
    (elsewhere / "cli/__main__.py").write_text("print('wrong module')")
    done = subprocess.run(
        [str(checkout / ".venv/bin/python"), "-P", "-m", "cli"],
        cwd=elsewhere,
        # The tests themselves may run with the checkout on PYTHONPATH.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"in {elsewhere}\n"


@pytest.mark.timeout(ENVIRONMENT_TIMEOUT_SECONDS)
def test_pip_that_fails_leaves_no_stamp_and_shows_its_end(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert Path(made.STAMP).exists()
    (Path(made.ROOT) / "requirements.txt").write_text("pydantic==2.0\n")
    with pytest.raises(SystemExit) as caught:
        made.install(["requirements.txt"])
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert "isthmus: pip could not install the packages:" in said
    assert "hash" in said.lower()
    assert not Path(made.STAMP).exists()
    assert not made.is_ready(["requirements.txt"])


def test_an_old_python_is_told_what_is_needed(
    wrapper: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wrapper, "MINIMUM", (99, 0))
    with pytest.raises(SystemExit) as caught:
        wrapper.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("isthmus: Python 99.0 or newer is needed; this is ")


def test_without_ensurepip_it_names_the_package(
    wrapper: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit):
        wrapper.ensure_venv_module()
    said = capsys.readouterr().err
    assert f"sudo apt-get install python3.{sys.version_info[1]}-venv" in said
