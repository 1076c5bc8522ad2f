"""From an error to one clear message and an exit code; a traceback only with ISTHMUS_DEBUG=1."""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, ParamSpec

import typer

P = ParamSpec("P")

FAILED = 1
CANNOT = 3
INTERRUPTED = 130


class Cannot(Exception):
    """What was asked for could not be tried; the text is the whole message."""


def cannot(text: str) -> NoReturn:
    """Ends the command with a message, and the exit code for what could not be tried."""
    raise Cannot(text)


def guarded(*, when_interrupted: str = "") -> Callable[[Callable[P, int | None]], Callable[P, None]]:
    """Turns a command's errors into messages and its return value into the exit code.

    ``when_interrupted`` says what Ctrl-C has left behind and how to go on. SIGTERM counts as Ctrl-C. A command with an
    option ``json`` that is set prints ``{"error": TEXT}`` as well where it could not be tried.
    """

    def decorate(command: Callable[P, int | None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*arguments: P.args, **options: P.kwargs) -> None:
            signal.signal(signal.SIGTERM, _interrupt)
            as_json = options.get("json") is True
            try:
                code = command(*arguments, **options)
                sys.stdout.flush()  # what fails later than here has no message
            except KeyboardInterrupt:
                _say("interrupted", f"Interrupted. {when_interrupted}".strip())
                raise typer.Exit(INTERRUPTED) from None
            except BrokenPipeError:
                # The reader has gone (`| head`): nobody is left to tell.
                _write_no_more()
                raise typer.Exit(0) from None
            except typer.Exit:
                raise
            except Exception as error:
                if isinstance(error, Cannot) or _is_expected(error):
                    _debug()
                    _give_up(str(error), as_json=as_json)
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    if error.filename is None:
                        _write_no_more()
                    # A write says no name; the output's failure looks like any other's.
                    what = error.filename or "the output or a file"
                    _give_up(f"{what} can't be written: {error.strerror}.", as_json=as_json)
                if _debugging():
                    raise
                mistake = "This is a mistake in Isthmus; ISTHMUS_DEBUG=1 shows where."
                _give_up(f"{type(error).__name__}: {error}\n{mistake}", as_json=as_json)
            raise typer.Exit(code or 0)

        return run

    return decorate


def prepare_output() -> None:
    """Before anything is written: a stream of any encoding takes every text, and a closed one is told or not missed."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (for as long as the process lives)
    if sys.stdout is None:
        _say("error", "the output can't be written: standard output is closed.")
        sys.exit(CANNOT)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _write_no_more() -> None:
    """What is still in the buffer goes nowhere, without another error at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _give_up(text: str, *, as_json: bool) -> NoReturn:
    _say("error", text)
    if as_json:
        print(json.dumps({"error": text}))
    raise typer.Exit(CANNOT) from None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _is_expected(error: Exception) -> bool:
    # Imported only here: most commands fail with neither, and the toolchain alone takes longer to load than the rest.
    from lab.errors import LabError
    from toolchain import ToolchainError

    return isinstance(error, LabError | ToolchainError)


def _debugging() -> bool:
    return os.environ.get("ISTHMUS_DEBUG", "") not in ("", "0")


def _debug() -> None:
    if _debugging():
        traceback.print_exc()


def _say(kind: str, text: str) -> None:
    from rich.text import Text

    from cli import console

    style = "bold yellow" if kind == "interrupted" else "bold red"
    line = Text.assemble((f"{kind}: ", style), text) if kind == "error" else Text(text, style=style)
    console.messages().print(line)
