"""docs/tutorial.md as somebody follows it: the commands that it shows, typed one after the other in a shell.

Nothing is added to a command but what a person would type at its prompt. It owns no expectations.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lab.project import filled

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "docs/tutorial.md"
CODE_INDENT: Final = 4
"""Spaces before a line of code; text within a list has fewer."""
CONFIRMED: Final = {"PULUMI_SKIP_CONFIRMATIONS": "true"}
"""Stands for the `yes` that a person types at `pulumi up`."""


@dataclass(frozen=True)
class Typed:
    """A command and what came of it."""

    command: str
    code: int
    output: str

    def well(self) -> Typed:
        """The same, if the command ended well."""
        assert self.code == 0, f"$ {self.command}\n{self.output}\nended with code {self.code}"
        return self


def section(number: int) -> str:
    """The text of a numbered section."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {number}\. .*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def commands(text: str) -> list[str]:
    """Every line of code, without its comment, in the order of the page."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines):
        is_code = line.startswith(" " * CODE_INDENT) and line.strip()
        if is_code and (not lines[number - 1].strip() or lines[number - 1].startswith(" " * CODE_INDENT)):
            found.append(re.sub(r"\s+#.*$", "", line.strip()))
    return found


def spans(text: str) -> list[str]:
    """What stands in backquotes within sentences."""
    return re.findall(r"`([^`\n]+)`", text)


def checkout(directory: Path) -> Path:
    """A clone of this repository, as far as it is in git or about to be, with its Python environment.

    `./isthmus` starts the command line at once: that the wrapper makes the environment is tested with the wrapper.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target)
    (directory / ".venv").symlink_to(sys.prefix)
    (directory / "isthmus").write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(directory))} exec {shlex.quote(sys.executable)} -P -m cli "$@"\n',
        encoding="utf-8",
    )
    (directory / "isthmus").chmod(0o755)
    return directory


class Shell:
    """A shell in a directory that keeps what was exported, and runs one command at a time."""

    def __init__(
        self, directory: Path, environment: Mapping[str, str], exports: Path, around: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        self.environment = dict(environment)
        self._exports = exports
        self._around = tuple(around)
        exports.touch()

    def type(self, command: str, answer: str = "", *, deadline_seconds: float = 600.0) -> Typed:
        """Runs the command; ``answer`` is what is typed when it asks."""
        kept = shlex.quote(str(self._exports))
        script = f". {kept}\n{command}\ncode=$?\nexport -p > {kept}\nexit $code\n"
        done = subprocess.run(
            [*self._around, "bash", "-c", script],
            cwd=self.directory,
            env=self.environment,
            input=answer,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=deadline_seconds,
        )
        return Typed(command, done.returncode, done.stdout)


def fill_in(directory: Path, stack: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Writes what ``settings`` have into the marks of a shipped stack file, and what only they have behind it. Yields
    each setting that was marked.
    """
    path = directory / f"Pulumi.{stack}.yaml"
    text = path.read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    yield from re.findall(r'^ *-? *([a-z_0-9]+):.*"<[^"]*>"', text, re.MULTILINE)
    path.write_text(yaml.safe_dump({"config": filled(written["config"], settings)}, sort_keys=False), encoding="utf-8")
    assert "<" not in path.read_text(encoding="utf-8")
