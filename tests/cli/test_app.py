"""The command line: help, exit codes, errors as one message."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import typer
from typer.testing import CliRunner

from cli import errors
from cli.app import app
from cli.errors import guarded
from lab import state
from lab.errors import LabError
from tests.cli.test_plan import called

REPOSITORY = Path(__file__).resolve().parents[2]


def without_a_lab(*arguments: str, state_directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs the command line, within this process, as on a machine where no lab was ever up."""
    with mock.patch.object(state, "STATE", state_directory), mock.patch.object(state, "leftovers", list):
        return called("lab", *arguments)


def isthmus(*arguments: str, state_directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command line, on request as on a machine where no lab was ever up."""
    start = "import sys; sys.argv[0] = 'isthmus'; from pathlib import Path\n"
    if state_directory is not None:
        start += f"from lab import state; state.STATE = Path({str(state_directory)!r}); state.leftovers = list\n"
    start += "from cli.app import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", start, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("lab",),
        ("lab", "up"),
        ("lab", "status"),
        ("lab", "verify"),
        ("lab", "env"),
        ("lab", "shell"),
        ("lab", "down"),
        ("check",),
        ("test",),
    ],
    ids=" ".join,
)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="isthmus")
    assert done.exit_code == 0, done.output
    assert f"Usage: {' '.join(('isthmus', *command))}" in done.output
    assert "\x1b" not in done.output


def test_an_unknown_command_is_wrong_usage() -> None:
    done = called("lab", "explode")
    assert done.returncode == 2
    assert "No such command" in done.stderr


@pytest.mark.parametrize("command", [("status",), ("verify",), ("env",), ("shell", "mn-1")], ids=" ".join)
def test_without_a_lab_one_sentence_says_what_to_do(command: tuple[str, ...], tmp_path: Path) -> None:
    done = without_a_lab(*command, state_directory=tmp_path / "none")
    assert done.returncode == errors.CANNOT
    assert done.stdout == ""
    assert done.stderr.startswith("error: The lab ")
    assert "Traceback" not in done.stderr


def test_a_test_part_that_does_not_exist() -> None:
    done = called("test", "everything")
    assert done.returncode == 2
    assert done.stderr == "error: there is no part everything; the parts are check, unit, engine, link, coverage\n"


def exit_code_of(command: Callable[[], int | None]) -> int:
    with pytest.raises(typer.Exit) as caught:
        guarded(when_interrupted="Go on with X.")(command)()
    return caught.value.exit_code


def raising(error: BaseException) -> Callable[[], int | None]:
    def command() -> int | None:
        raise error

    return command


def test_the_return_value_is_the_exit_code() -> None:
    assert exit_code_of(lambda: None) == 0
    assert exit_code_of(lambda: 1) == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (LabError("No room."), errors.CANNOT, "error: No room.\n"),
        (KeyboardInterrupt(), errors.INTERRUPTED, "Interrupted. Go on with X.\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/var/lib/x"),
            errors.CANNOT,
            "error: /var/lib/x can't be written: No space left on device.\n",
        ),
        (
            ZeroDivisionError("oh"),
            errors.CANNOT,
            "error: ZeroDivisionError: oh\nThis is a mistake in Isthmus; ISTHMUS_DEBUG=1 shows where.\n",
        ),
    ],
)
def test_errors_become_one_message(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(raising(error)) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


def test_machine_readers_get_the_error_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded()
    def command(*, json: bool) -> int:
        raise LabError("No room.")

    for asked, stdout in ((True, '{"error": "No room."}\n'), (False, "")):
        with pytest.raises(typer.Exit) as caught:
            command(json=asked)
        captured = capsys.readouterr()
        assert (caught.value.exit_code, captured.out, captured.err) == (errors.CANNOT, stdout, "error: No room.\n")


def test_debugging_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        guarded()(raising(ZeroDivisionError()))()


def test_lab_down_without_a_lab_is_done(tmp_path: Path) -> None:
    done = isthmus("lab", "down", state_directory=tmp_path / "none")
    assert (done.returncode, done.stdout) == (0, "There is no lab.\n")


def test_json_is_only_json(tmp_path: Path) -> None:
    done = without_a_lab("status", "--json", state_directory=tmp_path / "none")
    assert done.stdout == "" or json.loads(done.stdout)
