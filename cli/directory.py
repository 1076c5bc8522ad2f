"""The fleet of a directory as the commands take it: every stack file read and checked, as `pulumi preview` does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from cli import console
from cli.errors import cannot
from domain.fleet import Fleet, parse_fleet
from domain.problems import Problem, count_of
from domain.stack_directory import read_stack_files


def read_fleet(directory: Path) -> Fleet:
    """All stack files of the directory; ends the command when it can't be listed."""
    try:
        return parse_fleet(read_stack_files(directory))
    except OSError as error:
        cannot(f"{directory} can't be read: {error.strerror}.")


def print_problems(problems: Sequence[Problem]) -> None:
    """One line a problem, then how many there are."""
    out = console.results()
    for problem in problems:
        out.print(Text(str(problem)))
    number = count_of(problems)
    count = "1 problem" if number == 1 else f"{number} problems"
    out.print(Text(f"{count} in the stack files; `pulumi up` would refuse, and change nothing.", style="bold red"))
