"""The real `pulumi` command, run as a person at the lab's workstation would run it.

It owns the command line, streaming of output with a log, and what an interruption means: a first Ctrl-C asks Pulumi to
stop in an orderly way and waits, a second one ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import private_files, processes, project, state
from lab.errors import CommandFailed
from lab.project import Tools


@dataclass(frozen=True, kw_only=True)
class Pulumi:
    """`pulumi` at the workstation, in the lab's project."""

    tools: Tools

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return project.at_workstation(
            [str(self.tools.pulumi_bin / "pulumi"), "-C", str(project.directory()), *arguments]
        )

    def run(
        self, *arguments: str, stdin: str = "", check: bool = True, deadline_seconds: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a short command and returns what it wrote; raises :class:`~lab.errors.CommandFailed` when it fails."""
        done = subprocess.run(
            self.command(*arguments, "--non-interactive"),
            env=project.environment(self.tools),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_seconds,
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise CommandFailed(f"`pulumi {shlex.join(arguments)}` ended with code {done.returncode}:\n{said}")
        return done

    def stream(self, *arguments: str, log: Path, on_line: Callable[[str], None], colour: bool = False) -> None:
        """Runs a long command such as `up`; each line goes to ``log`` and to ``on_line`` as it comes.

        Raises :class:`~lab.errors.CommandFailed` when it fails; what it said has been handed on by then.
        """
        command = self.command(*arguments, "--non-interactive", "--color", "always" if colour else "never")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ pulumi {shlex.join(arguments)}\n")
            # A process group of its own: Ctrl-C reaches us alone, and we decide what Pulumi is told.
            process = subprocess.Popen(
                command,
                env=project.environment(self.tools),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                process_group=0,
            )
            _remember(process.pid)

            def pump() -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    text = line.rstrip("\n")
                    file.write(f"{text}\n")
                    file.flush()
                    on_line(text)

            try:
                pump()
                process.wait()
            except KeyboardInterrupt:
                on_line("Interrupted: Pulumi finishes what it has begun; press Ctrl-C again to end it at once.")
                with contextlib.suppress(KeyboardInterrupt):
                    os.killpg(process.pid, signal.SIGINT)
                    pump()
                    process.wait()
                raise
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                assert process.stdout is not None
                process.stdout.close()
                _forget()
        if process.returncode != 0:
            raise CommandFailed(
                f"`pulumi {shlex.join(arguments)}` ended with code {process.returncode}; it says why above and in {log}"
            )

    def stacks(self) -> tuple[str, ...]:
        """The stacks that exist, initialised or deployed."""
        listed = json.loads(self.run("stack", "ls", "--json").stdout)
        return tuple(sorted(str(stack["name"]).rsplit("/", 1)[-1] for stack in listed))

    def outputs(self, stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """The outputs of the stack's last update."""
        arguments = ["stack", "output", "--json", "-s", stack]
        if show_secrets:
            arguments.append("--show-secrets")
        found: dict[str, Any] = json.loads(self.run(*arguments).stdout or "{}")
        return found

    def set_secrets(self, stack: str, values: Mapping[str, str]) -> None:
        """Sets each secret that the stack file lacks; values go through standard input, never a command line."""
        config = (yaml.safe_load(project.stack_file(stack).read_text(encoding="utf-8")) or {}).get("config") or {}
        for name, value in values.items():
            if name not in config:
                self.run("config", "set", "--secret", name, "-s", stack, stdin=value)

    def release_locks(self) -> None:
        """Ends a `pulumi` that a killed `lab up` has left behind, and removes the locks of such a one."""
        recorded = _recorded()
        if recorded is not None:
            with contextlib.suppress(ProcessLookupError):
                if recorded.alive:
                    os.killpg(recorded.pid, signal.SIGKILL)
            _forget()
        for stack in sorted({lock.parent.name for lock in _locks()}):
            self.run("cancel", "--yes", "-s", stack)


def _locks() -> list[Path]:
    return list((project.backend_directory() / ".pulumi" / "locks").glob("**/*.json"))


def _record() -> Path:
    return state.STATE / "pulumi" / "running.json"


def _remember(pid: int) -> None:
    found = processes.identity(pid)
    if found is not None:
        private_files.write_secret(_record(), json.dumps(asdict(found)))


def _recorded() -> processes.Identity | None:
    try:
        return processes.Identity(**json.loads(_record().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _forget() -> None:
    _record().unlink(missing_ok=True)
