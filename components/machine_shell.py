"""Runs the program's own scripts on a machine over SSH, from a hook: with OpenSSH's client, as
``preflight/asking.py`` does.

What a resource does on a machine is the command provider's; this is for what has to be done between two looks at the
cluster.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from components.k3s_install import (
    INSTALL,
    INSTALL_SECONDS,
    MAY_BE_ANEW,
    STAGE,
    STAGE_SECONDS,
    UNINSTALL_ANEW,
    UNINSTALL_SECONDS,
)
from components.node_upgrade import MachineError
from components.ssh_reachable import SSH_PORT
from domain.node_files import NOT_COMPARED, script
from preflight.asking import private_file, ssh_command

SETTINGS: Final = f"timeout -k 5 30 sh -s -- {' '.join(NOT_COMPARED)}"
LOOK_SECONDS: Final = 60
"""For a login and some checksums."""
_LINES: Final = 5
"""As many of its last lines are in a message."""


@dataclass(frozen=True)
class MachineShell:
    """A machine, reached as ``user``, who may do everything with sudo. ``bundle`` are the files of its node as a tar
    archive, ``url`` and ``sha256`` are those of its k3s, where it is to be staged.
    """

    node: str
    address: str
    host_key: str
    private_key: str = field(repr=False)
    bundle: bytes = field(repr=False)
    url: str = ""
    sha256: str = ""
    user: str = "root"
    port: int = SSH_PORT

    def settings(self) -> str:
        """What ``say-k3s-settings.sh`` says there; changes nothing. Raises MachineError."""
        script_name = "say-k3s-settings"
        said = self._run(SETTINGS, script(f"{script_name}.sh"), LOOK_SECONDS, lambda _: None)
        found = [line.removeprefix(f"{script_name}: ") for line in said if line.startswith(f"{script_name}: ")]
        if not found:
            raise MachineError("it does not say which settings its k3s has")
        return found[-1]

    def stage(self, say: Callable[[str], None]) -> None:
        """Brings the binary there and looks at its checksum; changes nothing that runs. Raises MachineError."""
        words = {"ISTHMUS_K3S_SHA256": self.sha256, "ISTHMUS_K3S_URL": self.url}
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in words.items())
        self._run(f"{given} {STAGE}", script("install-k3s.sh"), STAGE_SECONDS, say)

    def install(self, say: Callable[[str], None]) -> None:
        """Returns once k3s runs as the files say. Raises MachineError."""
        self._run(INSTALL, base64.b64encode(self.bundle).decode(), INSTALL_SECONDS + 120, say)

    def look(self) -> None:
        """Returns where somebody may log in, is root then, and nothing keeps the machine from being a node anew.
        Changes nothing. Raises MachineError.
        """
        self._run(MAY_BE_ANEW, "", LOOK_SECONDS, lambda _: None)

    def uninstall(self, say: Callable[[str], None]) -> None:
        """Returns once nothing of its node runs, and all its data is gone. Raises MachineError."""
        self._run(UNINSTALL_ANEW, script("uninstall-k3s.sh"), UNINSTALL_SECONDS + 60, say)

    def _run(self, remote: str, given: str, seconds: float, say: Callable[[str], None]) -> list[str]:
        """All that it says, line by line."""
        with tempfile.TemporaryDirectory(prefix="isthmus-ssh-") as held:
            key = private_file(Path(held), self.private_key)
            known = Path(held) / "known_hosts"
            host = self.address if self.port == SSH_PORT else f"[{self.address}]:{self.port}"
            known.write_text(f"{host} {self.host_key}\n", encoding="utf-8")
            as_root = remote if self.user == "root" else f"sudo -n sh -c {shlex.quote(remote)}"
            command = ssh_command(key, known, user=self.user, address=self.address, port=self.port, remote=as_root)
            environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
            try:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except FileNotFoundError:
                raise MachineError("there is no `ssh` on PATH here (the package openssh-client)") from None
            words: list[str] = []
            ended = threading.Timer(seconds, process.kill)
            told = threading.Thread(target=_give, args=(process, given), daemon=True)
            with process:
                ended.start()
                told.start()
                for line in process.stdout or ():
                    words.append(line.strip())
                    say(f"{self.node}: {words[-1]}")
                told.join()
            ended.cancel()
        if process.returncode:
            said = " / ".join(words[-_LINES:]) or f"ssh ended with code {process.returncode}"
            raise MachineError(said)
        return words


def _give(process: subprocess.Popen[str], given: str) -> None:
    """Who reads no more has said why."""
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError), process.stdin as stream:
        stream.write(given)
