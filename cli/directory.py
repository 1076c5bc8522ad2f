"""The fleet of a directory as the commands take it: every stack file read and checked, as `pulumi preview` does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.text import Text

from cli import console
from cli.errors import cannot
from domain.fleet import Fleet, parse_fleet
from domain.problems import Problem, count_of
from domain.stack_directory import PREFIX, SUFFIX, read_project, read_stack_files

CHECKOUT: Final = Path(__file__).resolve().parent.parent


def project_directory(given: Path | None) -> Path:
    """Where the stack files lie: the directory that somebody gave, else the nearest one at or above the current one
    that has a Pulumi project or stack files, else this checkout.

    So it is found from any directory, as Pulumi finds its project.
    """
    if given is not None:
        return given
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "Pulumi.yaml").is_file() or any(directory.glob(f"{PREFIX}*{SUFFIX}")):
            return Path() if directory == here else directory
    return CHECKOUT


def read_fleet(directory: Path) -> Fleet:
    """All stack files of the directory; ends the command when it can't be listed."""
    try:
        return parse_fleet(read_stack_files(directory), read_project(directory))
    except OSError as error:
        cannot(f"{directory} can't be read: {error.strerror}.")


def print_problems(
    problems: Sequence[Problem], closing: str = "in the stack files; `pulumi up` would refuse, and change nothing."
) -> None:
    """One line a problem, then how many there are, and what that means: ``closing``."""
    out = console.results()
    for problem in problems:
        out.print(Text(str(problem)))
    number = count_of(problems)
    count = "1 problem" if number == 1 else f"{number} problems"
    out.print(Text(f"{count} {closing}", style="bold red"))
