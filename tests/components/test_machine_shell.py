"""The program's scripts are run on a machine over SSH: who logs in how, what goes there, and what comes back."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import pytest

from components.machine_shell import MachineShell
from components.node_upgrade import MachineError
from domain.node_files import NOT_COMPARED, script

URL = "https://mirror.example.net/k3s files/k3s"
SHELL = MachineShell("de-agent-1", "198.51.100.7", "ssh-ed25519 AAAA", URL, "5f" * 32, "PRIVATE", b"archive")


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


def test_its_last_words_are_the_reason(ssh: Path) -> None:
    (ssh / "does").write_text("for n in 1 2 3 4 5 6; do echo line $n; done; exit 1\n")
    with pytest.raises(MachineError, match=r"^line 2 / line 3 / line 4 / line 5 / line 6$"):
        SHELL.install(lambda _: None)
    (ssh / "does").write_text("exit 255\n")
    with pytest.raises(MachineError, match=r"^ssh ended with code 255$"):
        SHELL.install(lambda _: None)


def test_it_has_an_end(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.machine_shell.INSTALL_SECONDS", 0.2 - 120)
    (ssh / "does").write_text("exec sleep 600\n")
    begun = time.monotonic()
    with pytest.raises(MachineError, match=r"^ssh ended with code -9$"):
        SHELL.install(lambda _: None)
    assert time.monotonic() - begun < 60


def test_there_is_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="there is no `ssh` on PATH here"):
        SHELL.stage(lambda _: None)
