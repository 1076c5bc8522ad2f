"""The real `pulumi` with the program of this checkout, in a directory, a backend and a home of the tests' own.

It owns how a test runs the engine and reads what the engine says. It has no expectations.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from lab import processes
from lab.project import backend_url
from tests.domain.samples import CLUSTER_SECRET, SECRET, SSH_PRIVATE_KEY
from toolchain import pulumi_bin, pulumi_home

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = ("Pulumi.yaml", "__main__.py", "components", "domain", "keeper", "preflight")
NAME: Final = "isthmus"
PASSPHRASE: Final = "passphrase-of-the-engine-tests"
COMMAND_DEADLINE_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.02
_DROPPED: Final = ("PULUMI_", "PYTHON", "VIRTUAL_ENV", "KUBE", "HELM_", "HCLOUD_", "COV_")

KUBECONFIG_TOKEN: Final = "token-in-the-kubeconfig-of-the-engine-tests"
KUBECONFIG: Final = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Config",
        # Nobody listens on this port: the cluster can't be reached, and that shows at once.
        "clusters": [{"name": "mn", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "mn", "user": {"token": KUBECONFIG_TOKEN}}],
        "contexts": [{"name": "mn", "context": {"cluster": "mn", "user": "mn"}}],
        "current-context": "mn",
    }
)
SECRETS: Final[Mapping[str, str]] = {
    "isthmus:clusterSecret": CLUSTER_SECRET,
    "isthmus:netbirdApiToken": "nbp_engineTestsNetbirdToken0123456789abcd",
    "isthmus:sshPrivateKey": SSH_PRIVATE_KEY,
    "isthmus:kubeconfig": KUBECONFIG,
    "hcloud:token": "t" * 64,
}
"""The values behind :data:`tests.domain.samples.SECRET` in the stack files that :meth:`Project.write` makes."""


@dataclass(frozen=True)
class Result:
    """What a command ended with."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """All that a person sees."""
        return self.stdout + self.stderr

    @property
    def json(self) -> dict[str, Any]:
        """The answer of a command that was given --json."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    def expect(self, code: int) -> Result:
        """The result itself, if it has this exit code."""
        assert self.code == code, f"ended with code {self.code}, not {code}:\n{self.output}"
        return self

    def says(self, text: str) -> None:
        """Fails, with everything that was said, if the text is not in it."""
        assert text in self.output, f"{text!r} is not in:\n{self.output}"


@dataclass(frozen=True)
class Step:
    """One line of a plan."""

    op: str
    type: str
    name: str
    parent: str
    """Name of the parent; empty below the stack itself."""

    def __str__(self) -> str:
        return f"{self.parent or '.':<16} {self.type} {self.name}"


def steps(preview: Mapping[str, Any]) -> list[Step]:
    """The steps of a `preview --json`, without the stack itself, sorted by parent, type and name."""
    found = []
    for step in preview["steps"]:
        _, _, rest = str(step["urn"]).partition(f"::{NAME}::")
        type_, _, name = rest.partition("::")
        if type_ == "pulumi:pulumi:Stack":
            continue
        state = step.get("newState") or step["oldState"]
        parent = str(state.get("parent", ""))
        found.append(
            Step(
                op=step["op"],
                type=type_.rsplit("$", 1)[-1],
                name=name,
                parent="" if "pulumi:pulumi:Stack" in parent else parent.rpartition("::")[2],
            )
        )
    return sorted(found, key=lambda made: (made.parent, made.type, made.name))


class Running:
    """A command in the background, with what it has said so far in a file."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Its output up to now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_for(
        self, condition: Callable[[], object], what: str, deadline_seconds: float = COMMAND_DEADLINE_SECONDS
    ) -> None:
        """Returns once the condition holds; fails at the deadline, or when the command ends before. Then nothing of it
        is left.
        """
        end = time.monotonic() + deadline_seconds
        with self._killed_on_error():
            while not condition():
                code = self._process.poll()
                assert code is None, f"ended with {code} before {what}:\n{self.said}"
                assert time.monotonic() < end, f"not within {deadline_seconds:.0f} s: {what}\n{self.said}"
                time.sleep(_POLL_SECONDS)

    def end(self, deadline_seconds: float) -> Result:
        """What it ends with by itself; killed, with an error, at the deadline."""
        with self._killed_on_error():
            return Result(self._process.wait(deadline_seconds), self.said, "")

    @contextlib.contextmanager
    def _killed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL to the command and to everything that it has started, as when the machine loses its power."""
        kill_tree(self._process.pid)
        self._process.wait()

    def kill_alone(self) -> list[int]:
        """SIGKILL to the command's process group; its plugins have groups of their own. Gives those that live on."""
        family = descendants(self._process.pid)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return [pid for pid in family if pid != self._process.pid]


@dataclass
class Engine:
    """What all projects of one run of the tests share: the programs, the plugins, and the encrypted secrets."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    salt: str = ""
    encrypted: dict[str, Any] = field(default_factory=dict)
    vault: Project | None = None
    """The project in which the secrets were encrypted; its backend has de and mn, never raised."""

    @classmethod
    def start(cls, directory: Path) -> Engine:
        """Makes Pulumi ready (which may build it) and encrypts :data:`SECRETS` once: each takes the engine's start."""
        engine = cls(directory)
        home = directory / "person"
        home.mkdir()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_DROPPED) and not name.lower().endswith("_proxy")
        }
        engine.environment = {
            **kept,
            "PATH": os.pathsep.join([str(pulumi_bin()), os.environ.get("PATH", os.defpath)]),
            "HOME": str(home),
            "TMPDIR": str(home),
            "KUBECONFIG": str(home / "no-kubeconfig"),
            "HELM_CACHE_HOME": str(home / "helm"),
            "HELM_CONFIG_HOME": str(home / "helm"),
            "HELM_DATA_HOME": str(home / "helm"),
            "PULUMI_HOME": str(pulumi_home(directory=directory / "pulumi-home")),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            # Also off the pull of a terminal of whoever runs the tests.
            "NO_COLOR": "1",
            # A program that hangs says where, when it is told to end.
            "PYTHONFAULTHANDLER": "1",
        }
        vault = engine.vault = Project(engine, directory / "vault")
        for stack in ("de", "mn"):
            vault.run("stack", "init", stack).expect(0)
        values = [part for name, value in SECRETS.items() for part in ("--secret", f"{name}={value}")]
        vault.run("config", "set-all", "-s", "de", *values).expect(0)
        written = yaml.safe_load((vault.directory / "Pulumi.de.yaml").read_text(encoding="utf-8"))
        engine.salt, engine.encrypted = written["encryptionsalt"], written["config"]
        return engine


class Project:
    """A project directory with links to the program, stack files written by the test, and a backend of its own."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self._engine = engine
        self._root = root
        self.directory = root / "project"
        self.backend = root / "backend"
        self.directory.mkdir(parents=True)
        self.backend.mkdir()
        for name in PROGRAM:
            (self.directory / name).symlink_to(REPOSITORY / name)
        # The language host looks for the virtual environment where Pulumi.yaml says it is.
        (self.directory / ".venv").symlink_to(sys.prefix)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this project's commands."""
        return {**self._engine.environment, "PULUMI_BACKEND_URL": backend_url(self.backend)}

    def write(self, stack: str, config: Mapping[str, Any]) -> None:
        """Writes a stack file; secrets of the samples get real, encrypted values. Behind what is no secret of the
        program, and is encrypted all the same, stands NetBird's token.
        """

        def real(value: Any, name: str = "isthmus:netbirdApiToken") -> Any:
            if value == SECRET:
                return dict(self._engine.encrypted[name])  # of the same one YAML would make aliases
            if isinstance(value, dict):
                return {key: real(entry) for key, entry in value.items()}
            return [real(entry) for entry in value] if isinstance(value, list) else value

        settings = {name: real(value, name) if name in SECRETS else real(value) for name, value in config.items()}
        self.write_text(stack, yaml.safe_dump({"encryptionsalt": self._engine.salt, "config": settings}))

    def write_text(self, stack: str, text: str) -> None:
        """Writes a stack file as it is given."""
        (self.directory / f"Pulumi.{stack}.yaml").write_text(text, encoding="utf-8")

    def init(self, stack: str) -> None:
        """What `pulumi stack init` leaves in the backend, without another start of the engine."""
        assert self._engine.vault is not None
        for name in ("meta.yaml", f"stacks/{NAME}/{stack}.json"):
            target = self.backend / ".pulumi" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._engine.vault.backend / ".pulumi" / name, target)

    def runs(self, program: Path) -> None:
        """Puts another program in the place of ours."""
        main = self.directory / "__main__.py"
        main.unlink()
        main.symlink_to(program)

    def run(
        self,
        *arguments: str,
        deadline_seconds: float = COMMAND_DEADLINE_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Runs `pulumi` to its end. At the deadline the program says where it is, all is killed, and what was said by
        then is in the failure; the stack is no longer locked then, or all tests after it would fail as well.
        """
        process = subprocess.Popen(
            self._command(arguments),
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=deadline_seconds)
        except subprocess.TimeoutExpired:
            said = last_words(process)
            for lock in (self.backend / ".pulumi" / "locks").rglob("*.json"):
                lock.unlink(missing_ok=True)
            raise AssertionError(
                f"`pulumi {' '.join(arguments)}` did not end within {deadline_seconds:.0f} s:\n{said}"
            ) from None
        except BaseException:
            kill_tree(process.pid)
            process.communicate()
            raise
        return Result(process.returncode, stdout, stderr)

    def run_some(self, command: str, stack: str, resources: Sequence[str], *arguments: str) -> Result:
        """A `preview` or an `up` of some resources alone, by patterns of their URNs; another command is of all."""
        targets = [f"--target={resource}" for resource in resources if command in ("preview", "up")]
        yes = () if command == "preview" else ("--yes", "--skip-preview")
        return self.run(command, "-s", stack, *yes, *targets, *arguments)

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Running:
        """Starts `pulumi` in the background."""
        return Running(
            self._command(arguments), {**self.environment, **(environment or {})}, self._root / "running.log"
        )

    def preview(self, stack: str, *arguments: str) -> dict[str, Any]:
        """The answer of a `preview --json` that must succeed."""
        return self.run("preview", "-s", stack, "--json", *arguments).expect(0).json

    def state_text(self, stack: str) -> str:
        """The stack's state as it lies on the disk; empty before there is any."""
        path = self.backend / ".pulumi" / "stacks" / NAME / f"{stack}.json"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def resources(self, stack: str) -> list[dict[str, Any]]:
        """The resources in the stack's state."""
        text = self.state_text(stack)
        latest = json.loads(text)["checkpoint"].get("latest") if text else None
        return list((latest or {}).get("resources") or [])

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        program = shutil.which("pulumi", path=self._engine.environment["PATH"])
        assert program is not None
        return [program, "-C", str(self.directory), "--non-interactive", "--color", "never", *arguments]


def descendants(pid: int) -> list[int]:
    """The process and all that it has started, directly or not, children last."""
    found = [pid]
    for process in found:
        found += [child for child in processes.children(process) if child not in found]
    return found


def last_words(process: subprocess.Popen[str], seconds: float = 10.0) -> str:
    """What a `pulumi` that hangs has said, and where each thread of its Python programs is; then it is killed."""
    family = descendants(process.pid)
    for pid in family:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").startswith("python"):
                os.kill(pid, signal.SIGABRT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    for pid in family:
        kill_one(pid)
    return "".join(process.communicate())


def kill_tree(pid: int) -> None:
    """SIGKILL to the process and to everything it has started."""
    for process in descendants(pid):
        kill_one(process)


def kill_one(pid: int) -> None:
    """SIGKILL to a process that may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
