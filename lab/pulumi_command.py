"""The real `pulumi` command, run as a person at the lab's workstation would run it.

It owns the command line, streaming of output with a log, what an interruption means (a first Ctrl-C asks Pulumi to
stop in an orderly way and waits, a second one ends it), and what one that was killed leaves behind: locks, and plugins
that go on with what they were at.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lab import cgroups, private_files, processes, project, state
from lab.commands import going_on, wait_until
from lab.errors import CommandFailed, DeadlinePassed, LabInUse
from lab.project import Tools

RUN_DEADLINE_SECONDS: Final = 600.0
"""For a command that reads or writes settings, 2 s on an idle machine: a guard against one that hangs."""
FINISH_SECONDS: Final = 60.0
"""How long such a command may take to finish after Ctrl-C: what it has begun to write is a stack file or a state."""
UP_DEADLINE_SECONDS: Final = 7200.0
"""For a whole `up`, whose waits have deadlines of their own: a guard against one that hangs. It is interrupted then."""
OTHERS_SECONDS: Final = 900.0
"""How long somebody else's `pulumi` that is at work on a stack is waited for."""
END_SECONDS: Final = 120.0
"""For a killed process to be gone: a guard."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_PLUGINS: Final = ("pulumi-resource-", "pulumi-language-", "pulumi-analyzer-")


class PulumiFailed(CommandFailed):
    """A long `pulumi` command ended badly; ``said`` are its lines, ``code`` its exit code (negative: a signal)."""

    def __init__(self, text: str, *, said: Sequence[str], code: int) -> None:
        super().__init__(text)
        self.said = tuple(said)
        self.code = code


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
        self, *arguments: str, stdin: str = "", check: bool = True, deadline_seconds: float = RUN_DEADLINE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Runs a short command and returns what it wrote; raises :class:`~lab.errors.CommandFailed` when it fails.

        Ctrl-C lets it finish, and then interrupts us.
        """
        shown = f"`pulumi {shlex.join(arguments)}`"
        process = subprocess.Popen(
            self.command(*arguments, "--non-interactive"),
            env=project.environment(self.tools),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )
        try:
            with going_on(f"the end of {shown}"):
                stdout, stderr = process.communicate(stdin, timeout=deadline_seconds)
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{shown} did not end within {deadline_seconds:g} s") from None
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
                process.communicate(timeout=FINISH_SECONDS)
            raise
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise CommandFailed(f"{shown} ended with code {done.returncode}:\n{said}")
        return done

    def stream(self, *arguments: str, log: Path, on_line: Callable[[str], None], colour: bool = False) -> None:
        """Runs a long command such as `up`; each line goes to ``log`` and to ``on_line`` as it comes.

        Raises :class:`PulumiFailed` when it fails; what it said has been handed on by then.
        """
        said: list[str] = []
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
                    said.append(text)
                    file.write(f"{text}\n")
                    file.flush()
                    on_line(text)

            guard = threading.Timer(UP_DEADLINE_SECONDS, os.killpg, (process.pid, signal.SIGINT))
            guard.daemon = True
            guard.start()
            try:
                with going_on(lambda: f"pulumi, which said last: {_last_words(said)}"):
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
                guard.cancel()
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                assert process.stdout is not None
                process.stdout.close()
                _forget()
        if process.returncode != 0:
            raise PulumiFailed(
                f"`pulumi {shlex.join(arguments)}` ended with code {process.returncode}; "
                f"it says why above and in {log}",
                said=said,
                code=process.returncode,
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
        """Ends a `pulumi` that a killed `lab up` has left behind, with its plugins, and removes its locks.

        Somebody else's `pulumi` that is at work on a stack is waited for; raises :class:`~lab.errors.LabInUse` when
        that takes too long.
        """
        recorded = _recorded()
        if recorded is not None:
            with contextlib.suppress(ProcessLookupError):
                if recorded.alive:
                    os.killpg(recorded.pid, signal.SIGKILL)
            _wait_for_end(recorded)
            _forget()
        # In the middle of a change they would go on with it, beside the next `up`.
        for plugin in orphaned_plugins():
            plugin.signal(signal.SIGKILL)
            _wait_for_end(plugin)
        for lock in _locks():
            holder = _holder(lock)
            if holder is not None:
                _wait_for_other(lock, holder)
        for stack in sorted({lock.parent.name for lock in _locks()}):
            self.run("cancel", "--yes", "-s", stack)


def _last_words(said: Sequence[str]) -> str:
    """The last line that says something, without colours."""
    plain = (_COLOUR.sub("", line).strip() for line in reversed(said))
    return next((line for line in plain if line and not line.startswith("@ ")), "nothing")


def orphaned_plugins() -> list[processes.Identity]:
    """Plugins among the lab's helpers whose `pulumi` has gone."""
    found = []
    for pid in sorted(cgroups.processes(cgroups.HELPERS)):
        named = any(Path(word).name.startswith(_PLUGINS) for word in processes.command_line(pid)[:4])
        if named and not any(_is_pulumi(ancestor) for ancestor in processes.ancestors(pid)):
            plugin = processes.identity(pid)
            if plugin is not None:
                found.append(plugin)
    return found


def _is_pulumi(pid: int) -> bool:
    return Path(next(iter(processes.command_line(pid)), "")).name == "pulumi"


def _wait_for_end(process: processes.Identity) -> None:
    wait_until(lambda: not process.alive, what=f"Process {process.pid} ends", deadline_seconds=END_SECONDS)


def _wait_for_other(lock: Path, holder: processes.Identity) -> None:
    other = f"a pulumi (process {holder.pid}) that is at work on the stack {lock.parent.name}"
    try:
        wait_until(
            lambda: not (lock.exists() and holder.alive),
            what=f"the end of {other}",
            deadline_seconds=OTHERS_SECONDS,
            every_seconds=0.2,
        )
    except DeadlinePassed:
        raise LabInUse(
            f"There is {other}, for more than {OTHERS_SECONDS / 60:.0f} minutes. Wait for its end, or end it, then run "
            "`./isthmus lab up` again."
        ) from None


def _locks() -> list[Path]:
    return list((project.backend_directory() / ".pulumi" / "locks").glob("**/*.json"))


def _holder(lock: Path) -> processes.Identity | None:
    """The `pulumi` that holds a lock; None when it has gone, whoever has its number now."""
    try:
        pid = int(json.loads(lock.read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return processes.identity(pid) if _is_pulumi(pid) else None


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
