"""`./isthmus check`: runs every static check and says what failed. One list of commands, one result each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from cli import console, reporters

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Check:
    """A command that succeeds when all is well; ``fix`` mends what it finds, where a command can."""

    name: str
    command: tuple[str, ...]
    fix: str = ""
    directory: Path = REPOSITORY


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a check."""

    check: Check
    passed: bool
    output: str
    seconds: float


def all_checks(repository: Path = REPOSITORY) -> tuple[list[Check], list[str]]:
    """The checks for this checkout, and sentences on those that can't run here."""
    binaries = Path(sys.executable).parent
    found = [
        Check(name="format", command=(str(binaries / "ruff"), "format", "--check", "--quiet", "."), fix="ruff format"),
        Check(name="lint", command=(str(binaries / "ruff"), "check", "--quiet", "."), fix="ruff check --fix"),
        Check(name="types", command=(str(binaries / "mypy"), *_typed(repository))),
        Check(name="imports", command=(str(binaries / "lint-imports"), "--no-cache")),
    ]
    left_out: list[str] = []
    scripts = sorted(_shell_files(repository))
    if scripts:
        names = tuple(str(path.relative_to(repository)) for path in scripts)
        found.append(Check(name="shell", command=(str(binaries / "shellcheck"), "--external-sources", *names)))
    modules = own_go_modules(repository)
    if modules and shutil.which("go") is None:
        left_out.append("Go format and vet: there is no `go` on PATH")
    elif modules:
        sources = tuple(str(path) for module in modules for path in sorted(module.rglob("*.go")))
        found.append(Check(name="Go format", command=("gofmt", "-l", *sources), fix="gofmt -w"))
        found += [
            Check(name=f"Go vet {module.name}", command=("go", "vet", "-mod=readonly", "./..."), directory=module)
            for module in modules
        ]
    return found, left_out


def _typed(repository: Path) -> Iterator[str]:
    """What mypy reads: our packages and the tests; `__main__.py` and the wrapper by themselves."""
    for name in ("__main__.py", "domain", "components", "cli", "lab", "toolchain", "keeper", "preflight", "tests"):
        if (repository / name).exists():
            yield name


def _shell_files(repository: Path) -> Iterator[Path]:
    """Files in git, or about to be, that a shell runs: by name or by their first line."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    for name in sorted(set(listed.stdout.splitlines())):
        path = repository / name
        if not path.is_file() or path.is_symlink():
            continue
        if path.suffix in (".sh", ".bash"):
            yield path
        elif not path.suffix:
            with path.open("rb") as file:
                first = file.readline(80)
            if first.startswith(b"#!") and first.rstrip().endswith((b"sh", b"bash")):
                yield path


def own_go_modules(repository: Path = REPOSITORY) -> list[Path]:
    """The directories of Go modules with code of ours: the stand-ins. The toolchain's only name what is built."""
    return sorted(path.parent for path in (repository / "lab" / "standins").glob("*/go.mod"))


def run_check(check: Check) -> Outcome:
    """Runs one check. gofmt tells its findings on stdout and ends with 0, so output counts as a failure there."""
    start = time.monotonic()
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            check.command,
            cwd=check.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        output = (done.stdout + done.stderr).strip()
        passed = done.returncode == 0 and not (check.command[0] == "gofmt" and output)
    except OSError as error:
        output, passed = f"{check.command[0]}: {error}", False
    return Outcome(check=check, passed=passed, output=output, seconds=time.monotonic() - start)


def run_checks(checks: Sequence[Check]) -> list[Outcome]:
    """Runs all checks, two at a time, and returns the outcomes in their order."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(run_check, checks))


def run_all() -> int:
    """Runs everything, prints what failed and a summary; returns the exit code."""
    found, left_out = all_checks()
    start = time.monotonic()
    with reporters.reporter().step(f"Checking: {', '.join(check.name for check in found)}"):
        outcomes = run_checks(found)
    print_outcomes(outcomes, left_out, time.monotonic() - start)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def print_outcomes(
    outcomes: Sequence[Outcome], left_out: Sequence[str], seconds: float, *, closing_line: bool = True
) -> None:
    """The output of what failed, then a line for each check."""
    out = console.results()
    for outcome in outcomes:
        if not outcome.passed:
            out.print(Text(f"\n{outcome.check.name} failed", style="bold red"))
            out.print(Text(outcome.output or "(no output)"))
            if outcome.check.fix:
                out.print(Text(f"Much of it is mended by: {outcome.check.fix}", style="dim"))
    out.print()
    for outcome in outcomes:
        word, style = ("passed", "green") if outcome.passed else ("FAILED", "bold red")
        out.print(Text(f"{outcome.check.name:<40}"), Text(word, style=style), console.duration(outcome.seconds))
    for sentence in left_out:
        out.print(Text(f"Left out: {sentence}", style="yellow"))
    if closing_line:
        failed = sum(not outcome.passed for outcome in outcomes)
        out.print(f"{len(outcomes) - failed} passed, {failed} failed ({console.duration(seconds)})")
