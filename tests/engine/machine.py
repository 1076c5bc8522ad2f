"""Machines to log in to: the tree that the lab's machines boot from, its real sshd, and the program's own scripts, run
as they ship. Played are systemd and k3s (``files/systemctl.sh``, ``files/k3s.sh``), and what the kernel has: the API
that a server serves at its port 6443 is that of :class:`tests.engine.kube_api.KubeApi`, for as long as its unit runs.

A machine has a name, a file system and processes of its own, and ends with the process that started it. Its network is
that of the thread that starts it. Scripts on it delete ip rules and interfaces, so that has to be a network of the
tests'.
"""

from __future__ import annotations

import base64
import os
import shlex
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from domain.names import API_PORT
from lab import processes
from lab.base import ensure_machine_tree
from tests.engine.kube_api import until
from tests.engine.project import kill_one

FILES: Final = Path(__file__).parent / "files"
K3S: Final = (FILES / "k3s.sh").read_bytes()
"""What the mirror has for k3s."""
OF_THE_TESTS: Final = "/srv/tests"
START: Final = """
set -eu
tree=$1 files=$2 place=$3 address=$4
hostname "$5"
mount -t tmpfs -o size=64g tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$place/upper,workdir=$place/work" "$place/root"
root=$place/root
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp -a "$files/." "$root/"
if [ -e "$files/srv/tests/first-boot" ]; then chroot "$root" /bin/sh /srv/tests/first-boot & fi
exec chroot "$root" /usr/sbin/sshd -D -e -o "ListenAddress=$address" -o HostKey=/srv/tests/host-key -o UsePAM=no \
    -o AuthorizedKeysFile=/srv/tests/authorized-keys -o PidFile=none
"""


@dataclass(frozen=True)
class Login:
    """The keys of a machine: its own private one, and the public ones that may come in."""

    host_key: str = field(repr=False)
    authorized: tuple[str, ...]


class Machine:
    """A machine, from now on until :meth:`stop`. Raises AssertionError where it would get this machine's network."""

    def __init__(
        self, name: str, directory: Path, *, address: str, login: Login, kubeconfig: str, user_data: str = ""
    ) -> None:
        assert [name for _, name in socket.if_nameindex()] == ["lo"], "a machine needs a network of the tests' own"
        files, self._place = directory / name / "files", directory / name / "place"
        self._place.mkdir(parents=True)
        self._log = directory / name / "log"
        written: dict[str, tuple[str | bytes, int]] = {
            f"{OF_THE_TESTS}/host-key": (login.host_key, 0o600),
            f"{OF_THE_TESTS}/authorized-keys": ("\n".join(login.authorized) + "\n", 0o600),
            f"{OF_THE_TESTS}/kubeconfig": (kubeconfig, 0o600),
            f"{OF_THE_TESTS}/address": (f"{address}:{API_PORT}", 0o644),
            "/usr/bin/systemctl": ((FILES / "systemctl.sh").read_bytes(), 0o755),
            **_first_boot(yaml.safe_load(user_data) if user_data else {}),
        }
        for path, (content, mode) in written.items():
            file = files / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            file.chmod(mode)
        # What the kernel has is not asked of the machine that runs the tests.
        for path in ("run/sshd", "run/systemd/system", "sys/module/vxlan", "sys/module/tun"):
            (files / path).mkdir(parents=True)
        unshare = ("unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--fork", "--kill-child")
        script = ("sh", "-c", START, "sh", str(ensure_machine_tree()), str(files), str(self._place), address, name)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen((*unshare, *script), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._serves, f"{name}: sshd listens")
        self._at_first = self._written()

    def _serves(self) -> bool:
        said = self._log.read_text(encoding="utf-8", errors="replace")
        assert self._process.poll() is None, said
        return "Server listening on" in said

    def left(self) -> set[str]:
        """The files that have come since it was started, without logs and what is gone at the next boot."""
        gone = ("/run/", "/sys/", "/tmp/", "/var/log/")
        return {path for path in self._written() - self._at_first if not path.startswith(gone)}

    @property
    def is_on(self) -> bool:
        """Whether it was not stopped."""
        return self._process.poll() is None

    def runs(self) -> set[str]:
        """The units that run."""
        return {path.rpartition("/")[2] for path in self._written() if path.startswith("/run/units/")}

    def started(self) -> dict[str, int]:
        """When each unit that runs was started, in nanoseconds since the epoch."""
        return {unit: (self._upper() / "run/units" / unit).stat().st_mtime_ns for unit in self.runs()}

    def restarts(self) -> list[int]:
        """When units were to be started anew, in nanoseconds since the epoch; the first is that of the first boot."""
        return [int(line) for line in (self._upper() / "run/restarts").read_text(encoding="utf-8").split()]

    def breaks(self, *, broken: bool = True) -> None:
        """From now on no unit starts there, or every one does again."""
        file = Path(f"/proc/{self._process.pid}/root{self._place}/root{OF_THE_TESTS}/fails")
        if broken:
            file.touch()
        else:
            file.unlink()

    def text(self, path: str) -> str:
        """What a file holds that has come or was changed since it was started; empty where there is none."""
        file = self._upper() / path.lstrip("/")
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    def _upper(self) -> Path:
        # The process that waits for the machine sees its mounts, and is not in its tree.
        return Path(f"/proc/{self._process.pid}/root{self._place}/upper")

    def _written(self) -> set[str]:
        upper = self._upper()
        return {f"/{(Path(folder) / name).relative_to(upper)}" for folder, _, names in os.walk(upper) for name in names}

    def stop(self) -> None:
        """The machine is gone with all that runs on it: nobody has its address any more."""
        if not self.is_on:
            return
        # Its first process, and not who waits for that: this one ends when all of the machine have.
        for first in processes.children(self._process.pid) or [self._process.pid]:
            kill_one(first)
        self._process.wait()


def _first_boot(document: Mapping[str, Any]) -> dict[str, tuple[str | bytes, int]]:
    """What cloud-init does with the user data of a server: its files, then its commands."""
    commands = "".join(f"{shlex.join(command)}\n" for command in document.get("runcmd", ()))
    files: dict[str, tuple[str | bytes, int]] = {}
    for file in document.get("write_files", ()):
        assert file["encoding"] == "b64"
        files[file["path"]] = (base64.b64decode(file["content"]), int(file["permissions"], 8))
    return {**files, f"{OF_THE_TESTS}/first-boot": (commands, 0o644)} if commands else files
