"""From an error to one clear message and an exit code; a traceback only with ISTHMUS_DEBUG=1."""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import ParamSpec

import typer

P = ParamSpec("P")

FAILED = 1
CANNOT = 3
INTERRUPTED = 130


def guarded(*, when_interrupted: str = "") -> Callable[[Callable[P, int | None]], Callable[P, None]]:
    """Turns a command's errors into messages and its return value into the exit code.

    ``when_interrupted`` says what Ctrl-C has left behind and how to go on. SIGTERM counts as Ctrl-C.
    """

    def decorate(command: Callable[P, int | None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*arguments: P.args, **options: P.kwargs) -> None:
            signal.signal(signal.SIGTERM, _interrupt)
            try:
                code = command(*arguments, **options)
            except KeyboardInterrupt:
                _say("interrupted", f"Interrupted. {when_interrupted}".strip())
                raise typer.Exit(INTERRUPTED) from None
            except BrokenPipeError:
                # The reader has gone (`| head`): nobody is left to tell.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(0) from None
            except typer.Exit:
                raise
            except Exception as error:
                if _is_expected(error):
                    _debug()
                    _say("error", str(error))
                    raise typer.Exit(CANNOT) from None
                if _debugging():
                    raise
                _say(
                    "error",
                    f"{type(error).__name__}: {error}\nThis is a mistake in Isthmus; ISTHMUS_DEBUG=1 shows where.",
                )
                raise typer.Exit(CANNOT) from None
            raise typer.Exit(code or 0)

        return run

    return decorate


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
