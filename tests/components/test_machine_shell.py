"""The program's scripts are run on a machine over SSH: who logs in how, what goes there, and what comes back."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from components.k3s_install import INSTALL, MAY_BE_ANEW
from components.machine_shell import MachineShell
from components.node_upgrade import MachineError
from domain.node_files import NOT_COMPARED, script

URL = "https://mirror.example.net/k3s files/k3s"
SHELL = MachineShell("de-agent-1", "198.51.100.7", "ssh-ed25519 AAAA", "PRIVATE", b"archive", URL, "5f" * 32)
UNPACKS = "/var/lib/rancher/k3s/agent/containerd/tmpmounts/containerd-mount1"
OWN = MachineShell("mn-2", "192.168.7.12", "ssh-ed25519 AAAA", "PRIVATE", b"archive", user="admin", port=2222)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what ``ssh`` was called with, and what it does behind that: the file ``does``."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
cd {tmp_path}
printf '%s\\n' "$@" >arguments
while [ "$1" != -i ]; do shift; done
cp "$2" key
while [ "${{1%%=*}}" != UserKnownHostsFile ]; do shift; done
cp "${{1#*=}}" known
env >environment
. ./does
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/somebody's/agent")
    return tmp_path


def test_the_binary_is_staged_by_the_installer_of_now(ssh: Path) -> None:
    (ssh / "does").write_text("cat >given; echo install-k3s: one; echo install-k3s: two >&2\n")
    said: list[str] = []
    SHELL.stage(said.append)
    assert sorted(said) == ["de-agent-1: install-k3s: one", "de-agent-1: install-k3s: two"]
    assert (ssh / "given").read_text() == script("install-k3s.sh")
    arguments = (ssh / "arguments").read_text().splitlines()
    assert arguments[-5:-1] == ["-l", "root", "--", "198.51.100.7"]
    assert arguments[-1] == (
        f"ISTHMUS_K3S_SHA256={'5f' * 32} ISTHMUS_K3S_URL='{URL}' timeout -k 30 1200 sh -s -- stage"
    )
    assert (ssh / "known").read_text() == "198.51.100.7 ssh-ed25519 AAAA\n"
    assert (ssh / "key").read_text() == "PRIVATE\n"
    assert "SSH_AUTH_SOCK" not in (ssh / "environment").read_text()
    assert "PRIVATE" not in "".join(arguments)


def test_the_files_go_there_on_standard_input(ssh: Path) -> None:
    (ssh / "does").write_text("cat >given\n")
    SHELL.install(lambda _: None)
    assert base64.b64decode((ssh / "given").read_text()) == b"archive"
    assert "PRIVATE" not in repr(SHELL)
    assert "archive" not in repr(SHELL)


def test_it_says_which_settings_its_k3s_has(ssh: Path) -> None:
    (ssh / "does").write_text("cat >given; echo a banner; echo say-k3s-settings: 5f5f; echo gone\n")
    assert SHELL.settings() == "5f5f"
    assert (ssh / "given").read_text() == script("say-k3s-settings.sh")
    assert (ssh / "arguments").read_text().splitlines()[-1] == f"timeout -k 5 30 sh -s -- {' '.join(NOT_COMPARED)}"
    (ssh / "does").write_text("echo a banner\n")
    with pytest.raises(MachineError, match="it does not say which settings its k3s has"):
        SHELL.settings()
    (ssh / "does").write_text("echo say-k3s-settings: 5f5f; echo no luck >&2; exit 1\n")
    with pytest.raises(MachineError, match="no luck"):
        SHELL.settings()


def test_k3s_is_taken_off_a_machine_by_the_script_of_now(ssh: Path) -> None:
    (ssh / "does").write_text("cat >given; echo uninstall-k3s: gone\n")
    said: list[str] = []
    SHELL.uninstall(said.append)
    assert said == ["de-agent-1: uninstall-k3s: gone"]
    assert (ssh / "given").read_text() == script("uninstall-k3s.sh")
    assert (ssh / "arguments").read_text().splitlines()[-1] == (
        "if [ -d /usr/local/lib/isthmus ]; then exec timeout -k 30 600 sh -s -- anew; fi"
    )


def test_another_user_at_another_port_goes_by_sudo(ssh: Path) -> None:
    (ssh / "does").write_text("cat >given\n")
    OWN.install(lambda _: None)
    arguments = (ssh / "arguments").read_text().splitlines()
    assert arguments[-5:-1] == ["-l", "admin", "--", "192.168.7.12"]
    assert arguments[arguments.index("-p") + 1] == "2222"
    assert (ssh / "known").read_text() == "[192.168.7.12]:2222 ssh-ed25519 AAAA\n"
    assert shlex.split(arguments[-1]) == ["sudo", "-n", "sh", "-c", INSTALL]


def test_a_look_is_for_a_login_and_root_alone(ssh: Path) -> None:
    (ssh / "does").write_text('cat >given; while [ $# -gt 1 ]; do shift; done; exec sh -c "$1"\n')
    SHELL.look()
    assert (ssh / "given").read_text() == ""
    double = ssh / "bin" / "id"
    double.write_text("#!/bin/sh\necho 1000\n")
    double.chmod(0o755)
    with pytest.raises(MachineError, match=r"^who logs in is not root$"):
        SHELL.look()
    (ssh / "does").write_text("echo sudo: a password is required >&2; exit 1\n")
    with pytest.raises(MachineError, match=r"^sudo: a password is required$"):
        OWN.look()


def test_a_disk_within_k3s_data_stands_against_it(tmp_path: Path) -> None:
    """Nothing on it would be deleted, and a server would come back with the data of its former self."""
    mounts = tmp_path / "mounts"
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")
    (tmp_path / "id").chmod(0o755)

    def look(*points: str) -> tuple[int, str]:
        mounts.write_text("".join(f"/dev/sdb1 {point} ext4 rw 0 0\n" for point in ("/", *points)))
        done = subprocess.run(
            ["sh", "-eu", "-c", MAY_BE_ANEW.replace("/proc/self/mounts", str(mounts))],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    for fine in ((), ("/var/lib/rancher", "/var/lib/kubelet/pods/1/volumes/x", "/srv/var/lib/rancher"), (UNPACKS,)):
        assert look(*fine) == (0, ""), fine
    code, said = look(UNPACKS, "/var/lib/rancher/k3s/storage")
    assert code == 1
    assert said == (
        "something is mounted at /var/lib/rancher/k3s/storage, and what k3s has left there would come back to the new "
        "node: unmount it first, or take the machine out of on_premise.machines and add it again\n"
    )


def test_its_last_words_are_the_reason(ssh: Path) -> None:
    (ssh / "does").write_text("for n in 1 2 3 4 5 6; do echo line $n; done; exit 1\n")
    with pytest.raises(MachineError, match=r"^line 2 / line 3 / line 4 / line 5 / line 6$"):
        SHELL.install(lambda _: None)
    (ssh / "does").write_text("exit 255\n")
    with pytest.raises(MachineError, match=r"^ssh ended with code 255$"):
        SHELL.install(lambda _: None)


def test_it_has_an_end(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.machine_shell.INSTALL_SECONDS", 0.2 - 120)
    monkeypatch.setattr("components.machine_shell.UNINSTALL_SECONDS", 0.2 - 60)
    (ssh / "does").write_text("exec sleep 600\n")
    begun = time.monotonic()
    for deed in (SHELL.install, SHELL.uninstall):
        with pytest.raises(MachineError, match=r"^ssh ended with code -9$"):
            deed(lambda _: None)
    assert time.monotonic() - begun < 60


def test_there_is_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="there is no `ssh` on PATH here"):
        SHELL.stage(lambda _: None)
