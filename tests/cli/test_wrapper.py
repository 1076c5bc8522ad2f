"""The wrapper `./isthmus`: when it makes the environment, and what it says when it can't."""

from __future__ import annotations

import errno
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cli.testing import PARTS

WRAPPER = Path(__file__).resolve().parents[2] / "isthmus"
ENVIRONMENT_TIMEOUT_SECONDS = 300.0
"""A venv with pip in it: some 5 s, and as long as a busy machine takes."""


BASE = ["requirements.txt"]
BOTH = ["requirements.txt", "requirements-dev.txt"]
KEPT = ("PATH", "HOME", "TMPDIR", "LANG")
"""What the wrapper sees of the environment of whoever runs the tests."""
NO_INDEX = "http://127.0.0.1:9/index"
"""Nobody listens there."""
NO_NETWORK = (
    "isthmus: the Python packages can't be downloaded: pip reaches no index that has them. The first start needs one; "
    "PIP_INDEX_URL or PIP_FIND_LINKS names another. pip said: ERROR: No matching distribution found for pydantic==2.0\n"
)


def wrapper_of(checkout: Path) -> ModuleType:
    """The wrapper as a module of its own, for a checkout with small lock files."""
    loader = importlib.machinery.SourceFileLoader("isthmus_wrapper", str(WRAPPER))
    spec = importlib.util.spec_from_loader("isthmus_wrapper", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        loader.exec_module(module)
    vars(module).update(ROOT=str(checkout), VENV=str(checkout / ".venv"))
    for name in BOTH:
        (checkout / name).write_text("")
    return module


def checkout_in(directory: Path) -> Path:
    """A checkout whose command line only says that it runs, and from where."""
    (directory / "cli").mkdir(parents=True)
    (directory / "cli/__main__.py").write_text("import os, sys; print('in', os.getcwd(), sys.argv[1:], sys.prefix)")
    for name in BOTH:
        (directory / name).write_text("")
    shutil.copy(WRAPPER, directory / "isthmus")
    return directory


def start(checkout: Path, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.Popen[str]:
    """The wrapper of the checkout, started in an environment that says nothing to Python but ``variables``."""
    return subprocess.Popen(
        [sys.executable, str(checkout / "isthmus"), *arguments],
        cwd=cwd,
        env={**{name: os.environ[name] for name in KEPT if name in os.environ}, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def wrapper(tmp_path: Path) -> ModuleType:
    """The wrapper of a checkout without an environment."""
    return wrapper_of(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose environment was made by two calls at once, which takes seconds."""
    checkout = checkout_in(tmp_path_factory.mktemp("made") / "checkout")
    calls = [start(checkout, "plan", cwd=checkout) for _ in range(2)]
    said = [call.communicate(timeout=ENVIRONMENT_TIMEOUT_SECONDS) for call in calls]
    assert [call.returncode for call in calls] == [0, 0], said
    (environment,) = (checkout / ".venv.d").iterdir()
    assert [out for out, _ in said] == [f"in {checkout} ['plan'] {environment}\n"] * 2
    made_by = [err for _, err in said if "Installing 0 Python packages (requirements.txt) into .venv, once ..." in err]
    assert len(made_by) == 1, said
    return checkout


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


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["test", "foo"], ["foo"]),
        (["test", "--no-skips", "unit", "foo", "bar"], ["foo", "bar"]),
        (["test", "unit", "link"], []),
        (["test", "--list"], []),
        (["plan", "foo"], []),
        ([], []),
    ],
)
def test_parts_of_the_tests_that_are_none(wrapper: ModuleType, arguments: list[str], unknown: list[str]) -> None:
    assert wrapper.unknown_parts(arguments) == unknown
    assert wrapper.TEST_PARTS == PARTS


def test_of_a_part_that_is_none_it_says_so_and_installs_nothing(tmp_path: Path) -> None:
    checkout = checkout_in(tmp_path / "checkout")
    call = start(checkout, "test", "foo")
    out, err = call.communicate(timeout=60)
    assert (call.returncode, out) == (2, "")
    assert err == "isthmus: there is no part foo; the parts are check, unit, engine, link, coverage\n"
    assert not (checkout / ".venv.d").exists()


def test_the_link_comes_back_where_somebody_took_it_away(wrapper: ModuleType, tmp_path: Path) -> None:
    directory = write_stamp(wrapper, BASE)
    assert wrapper.prepare(BASE) == str(directory)
    assert (tmp_path / ".venv").resolve() == directory
    (tmp_path / ".venv").unlink()
    assert wrapper.prepare(BASE) == str(directory)
    assert (tmp_path / ".venv").resolve() == directory


def test_without_an_environment_no_link_is_made(wrapper: ModuleType, tmp_path: Path) -> None:
    wrapper.mend_link(wrapper.environment_directory())
    assert not (tmp_path / ".venv").is_symlink()


def test_a_link_that_leads_elsewhere_stays(wrapper: ModuleType, tmp_path: Path) -> None:
    write_stamp(wrapper, BASE)
    (tmp_path / ".venv").symlink_to("somebody-elses")
    wrapper.mend_link(wrapper.environment_directory())
    assert (tmp_path / ".venv").readlink() == Path("somebody-elses")


def write_stamp(wrapper: ModuleType, names: list[str]) -> Path:
    """An environment as it looks once it is made, with nothing in it."""
    directory = Path(wrapper.environment_directory())
    (directory / "bin").mkdir(parents=True, exist_ok=True)
    (directory / "bin/python").touch()
    (directory / wrapper.STAMP_NAME).write_text("\n".join(wrapper.stamp_lines(names)) + "\n")
    return directory


def ready(wrapper: ModuleType, names: list[str]) -> bool:
    result: bool = wrapper.is_ready(names, wrapper.environment_directory())
    return result


def test_an_environment_serves_until_what_it_was_made_from_changes(wrapper: ModuleType, tmp_path: Path) -> None:
    assert not ready(wrapper, BASE)
    write_stamp(wrapper, BASE)
    assert ready(wrapper, BASE)
    assert not ready(wrapper, BOTH)
    write_stamp(wrapper, BOTH)
    assert ready(wrapper, BASE)
    (tmp_path / "requirements.txt").write_text("pydantic==2.0\n")
    assert not ready(wrapper, BASE)


def test_an_environment_whose_interpreter_is_gone_does_not_serve(wrapper: ModuleType) -> None:
    python = write_stamp(wrapper, BASE) / "bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert not ready(wrapper, BASE)


def test_a_moved_checkout_gets_a_new_environment(
    wrapper: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stamp(wrapper, BASE)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in BOTH:
        (moved / name).write_text("")
    shutil.move(tmp_path / ".venv.d", moved)
    monkeypatch.setattr(wrapper, "ROOT", str(moved))
    assert not ready(wrapper, BASE)


def test_two_interpreters_have_an_environment_each_and_keep_it(
    wrapper: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = write_stamp(wrapper, BASE)
    monkeypatch.setattr(sys, "executable", "/opt/python/bin/python3.11")
    other = write_stamp(wrapper, BOTH)
    assert other != stamp
    wrapper.remove_unused(str(other))
    assert stamp.is_dir()
    assert other.is_dir()


def test_what_nobody_runs_in_any_more_is_removed(wrapper: ModuleType, tmp_path: Path) -> None:
    held = write_stamp(wrapper, BASE)
    descriptor = wrapper.hold(str(held))
    (tmp_path / "requirements.txt").write_text("a==1\n")
    unused = write_stamp(wrapper, BOTH)
    (tmp_path / "requirements.txt").write_text("a==2\n")
    newest = write_stamp(wrapper, BASE)
    half_made = tmp_path / ".venv.d/3.11-killed"
    (half_made / "bin").mkdir(parents=True)
    wrapper.remove_unused(str(newest))
    assert sorted((tmp_path / ".venv.d").iterdir()) == sorted([held, newest])
    assert not unused.exists()
    os.close(descriptor)
    wrapper.remove_unused(str(newest))
    assert list((tmp_path / ".venv.d").iterdir()) == [newest]
    assert wrapper.hold(str(held)) is None


def test_what_is_held_is_inherited_by_what_the_process_becomes(wrapper: ModuleType) -> None:
    descriptor = wrapper.hold(str(write_stamp(wrapper, BASE)))
    assert os.get_inheritable(descriptor)
    os.close(descriptor)


def test_the_link_follows_the_newest_and_is_nobody_elses(wrapper: ModuleType, tmp_path: Path) -> None:
    link = tmp_path / ".venv"
    first = write_stamp(wrapper, BASE)
    wrapper.link(str(first))
    assert link.resolve() == first
    assert not link.readlink().is_absolute()
    (tmp_path / "requirements.txt").write_text("a==1\n")
    second = write_stamp(wrapper, BASE)
    wrapper.link(str(second))
    assert link.resolve() == second


def test_a_venv_of_somebody_else_stays(wrapper: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    wrapper.link(str(write_stamp(wrapper, BASE)))
    assert (tmp_path / ".venv/bin").is_dir()
    assert capsys.readouterr().err == (
        "isthmus: .venv is there and not of ./isthmus's making, so it stays as it is; Pulumi uses it.\n"
    )


def test_an_environment_of_an_older_version_serves_where_it_is(wrapper: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".venv.d").mkdir()
    write_stamp(wrapper, BASE).rename(tmp_path / ".venv")
    assert wrapper.prepare(BASE) == str(tmp_path / ".venv")


@pytest.mark.timeout(ENVIRONMENT_TIMEOUT_SECONDS)
def test_it_serves_from_any_folder_and_says_nothing(made: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "cli").mkdir(parents=True)
    (elsewhere / "cli/__main__.py").write_text("print('wrong module')")
    out, err = start(made, "plan", "--json", cwd=elsewhere).communicate(timeout=60)
    assert err == ""
    assert out.startswith(f"in {elsewhere} ['plan', '--json'] {made}/.venv.d/")


@pytest.mark.timeout(ENVIRONMENT_TIMEOUT_SECONDS)
def test_modules_of_another_project_do_not_come_in_by_the_environment(made: Path, tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli/__init__.py").touch()
    (tmp_path / "cli/__main__.py").write_text("print('wrong module')")
    out, err = start(made, "plan", PYTHONPATH=str(tmp_path), PYTHONHOME=sys.base_prefix).communicate(timeout=60)
    assert err == ""
    assert out.endswith(f" ['plan'] {(made / '.venv').resolve()}\n")


@pytest.mark.thorough
@pytest.mark.timeout(ENVIRONMENT_TIMEOUT_SECONDS)
def test_a_process_that_runs_keeps_its_environment_while_another_is_made(made: Path) -> None:
    """With processes and a second environment; that what is held stays, and that the hold is inherited, is above."""
    program, lock_file = made / "cli/__main__.py", made / "requirements.txt"
    before = program.read_text()
    program.write_text("import sys; print(sys.prefix, flush=True); input(); import colorsys")
    running = start(made)
    try:
        assert running.stdout is not None
        first = Path(running.stdout.readline().strip())
        assert first.parent == made / ".venv.d"
        lock_file.write_text("# another version of the lock file\n")
        program.write_text("import sys; print(sys.prefix)")
        other = start(made)
        out, err = other.communicate(timeout=ENVIRONMENT_TIMEOUT_SECONDS)
        assert other.returncode == 0, err
        second = Path(out.strip())
        assert first.is_dir()
        assert (made / ".venv").resolve() == second != first
        running.communicate("\n", timeout=60)
        assert running.returncode == 0
    finally:
        running.kill()
        lock_file.write_text("")
        program.write_text(before)


@pytest.fixture
def failing(made: Path, wrapper: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A wrapper whose environment is a copy, because making one takes seconds; pip is real, and knows no settings."""
    (environment, *_) = (made / ".venv.d").iterdir()

    def copy(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "venv"]
        nothing_of = shutil.ignore_patterns(wrapper.STAMP_NAME)
        # Hard links: there are some thousand files, and nobody writes into one.
        shutil.copytree(
            environment, command[3], symlinks=True, ignore=nothing_of, dirs_exist_ok=True, copy_function=os.link
        )
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", copy)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", NO_INDEX)
    monkeypatch.setenv("PIP_RETRIES", "0")
    return wrapper


@pytest.mark.timeout(ENVIRONMENT_TIMEOUT_SECONDS)
@pytest.mark.parametrize(
    ("requirement", "says"),
    [
        ("pydantic==2.0 ???\n", "isthmus: pip could not install the packages:\n"),
        (
            f"pydantic==2.0 --hash=sha256:{'0' * 64}\n",
            NO_NETWORK,
        ),
    ],
    ids=["no sense", "no network"],
)
def test_pip_that_fails_leaves_no_stamp_and_says_why(
    failing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], requirement: str, says: str
) -> None:
    (tmp_path / "requirements.txt").write_text(requirement)
    with pytest.raises(SystemExit) as caught:
        failing.prepare(BASE)
    assert caught.value.code == 1
    title, rest = capsys.readouterr().err.split("\n", 1)
    assert title == "Installing 1 Python packages (requirements.txt) into .venv, once ..."
    assert rest.startswith(says)
    assert ("Invalid requirement" in rest) == ("???" in requirement)
    assert not ready(failing, BASE)
    assert not list((tmp_path / ".venv.d").glob("*/.isthmus-stamp"))
    assert not (tmp_path / ".venv").is_symlink()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_checkout_that_takes_no_files(
    wrapper: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def refuse(path: str, **_options: bool) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "makedirs", refuse)
    with pytest.raises(SystemExit) as caught:
        wrapper.prepare(BASE)
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        f"isthmus: the Python environment can't be made in {wrapper.ROOT} ({os.strerror(number)}: "
        f"{wrapper.ROOT}/.venv.d). Copy the checkout to a place that can be written to, or let somebody who may write "
        "there run ./isthmus --help once.\n"
    )


@pytest.mark.parametrize("there", ["nothing", "half of an environment", "an environment without these packages"])
def test_a_checkout_that_takes_no_files_any_more(
    wrapper: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: str
) -> None:
    directory = Path(wrapper.environment_directory())
    if there == "half of an environment":
        (directory / "bin").mkdir(parents=True)
    elif there != "nothing":
        write_stamp(wrapper, BASE)
    opened = os.open

    def refuse(path: str, flags: int, *rest: int, **options: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SystemExit) as caught:
        wrapper.prepare(BOTH)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(
        f"isthmus: the Python environment can't be made in {wrapper.ROOT} (Read-only file system: {directory}/"
    )


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
