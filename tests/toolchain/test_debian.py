"""Calls of apt; apt itself is not run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

import pytest

from toolchain import PackageError, debian

OK = 0


class Apt:
    """Stands for dpkg and apt: which packages are installed, known, and how old the lists are."""

    def __init__(self) -> None:
        self.installed = {"gcc"}
        self.known = {"gcc", "clang-19"}
        self.appear_after_update: set[str] = set()
        self.calls: list[list[str]] = []
        self.code = OK
        self.interrupted = False

    def capture(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command[0] == "dpkg-query":
            text = "".join(f"{name} installed\n" for name in self.installed if name in command)
            # A removed package whose configuration files are still there.
            text += "".join(f"{name} config-files\n" for name in command if name == "removed")
        else:
            candidates = {name: "1.0" if name in self.known else "(none)" for name in command[2:] if name != "nowhere"}
            text = "".join(
                f"{name}:\n  Installed: (none)\n  Candidate: {version}\n" for name, version in candidates.items()
            )
        return subprocess.CompletedProcess(list(command), 0, stdout=text, stderr="")

    def stream(self, command: Sequence[str], *, environment: Mapping[str, str], **_: object) -> tuple[int, str]:
        assert environment["DEBIAN_FRONTEND"] == "noninteractive"
        words = [word for word in command if not word.startswith(("-", "DPkg"))]
        self.calls.append(words)
        if words[0] == "dpkg":
            assert command == ["dpkg", "--configure", "-a"]
            self.interrupted = False
            return OK, ""
        if self.interrupted:
            said = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. "
            return 100, said
        if words[1] == "update":
            self.known |= self.appear_after_update
        elif self.code == OK:
            self.installed |= set(words[2:])
        return self.code, "E: broken" if self.code else ""


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> Apt:
    apt = Apt()
    monkeypatch.setattr("toolchain.processes.capture", apt.capture)
    monkeypatch.setattr("toolchain.processes.stream", apt.stream)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(debian, "_lists_age_seconds", lambda: 3600.0)
    return apt


def test_what_is_there_is_left_alone(apt: Apt) -> None:
    assert debian.ensure_packages(["gcc", "gcc"]) == []
    assert debian.ensure_packages([]) == []
    assert apt.calls == []


def test_only_what_is_missing_is_installed(apt: Apt) -> None:
    assert debian.ensure_packages(["gcc", "clang-19"]) == ["clang-19"]
    assert apt.calls == [["apt-get", "install", "clang-19"]]
    assert debian.ensure_packages(["gcc", "clang-19"]) == []


def test_an_installation_that_was_killed_is_completed(apt: Apt) -> None:
    apt.interrupted = True
    assert debian.ensure_packages(["clang-19"]) == ["clang-19"]
    assert apt.calls == [["apt-get", "install", "clang-19"], ["dpkg"], ["apt-get", "install", "clang-19"]]


def test_a_removed_package_is_missing(apt: Apt) -> None:
    assert debian.missing_packages(["gcc", "removed"]) == ["removed"]


def test_old_lists_are_renewed_first(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_lists_age_seconds", lambda: 25 * 3600.0)
    debian.ensure_packages(["clang-19"])
    assert apt.calls == [["apt-get", "update"], ["apt-get", "install", "clang-19"]]


def test_lists_that_lack_the_package_are_renewed_first(apt: Apt) -> None:
    apt.appear_after_update = {"llvm-19"}
    debian.ensure_packages(["llvm-19"])
    assert apt.calls == [["apt-get", "update"], ["apt-get", "install", "llvm-19"]]


@pytest.mark.parametrize("name", ["virtual", "nowhere"])
def test_an_unknown_package_is_named(apt: Apt, name: str) -> None:
    with pytest.raises(PackageError) as raised:
        debian.ensure_packages([name, "clang-19"])
    assert str(raised.value) == f"apt knows no package named {name}; is this Debian 12 or newer?"
    assert apt.calls == [["apt-get", "update"]]


def test_without_root_the_command_is_told(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PackageError) as raised:
        debian.ensure_packages(["clang-19", "gcc", "llvm-19"])
    assert str(raised.value) == (
        "Debian packages are missing: clang-19 llvm-19. Only root can install them: "
        "sudo apt-get update && sudo apt-get install --no-install-recommends clang-19 llvm-19"
    )


def test_without_apt_the_packages_are_told(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(PackageError) as raised:
        debian.ensure_packages(["gcc", "libc6-dev"])
    assert str(raised.value) == (
        "Debian packages are needed (gcc libc6-dev), and this machine has no apt; install their like by hand."
    )


def test_a_failure_of_apt_is_passed_on(apt: Apt) -> None:
    apt.code = 100
    with pytest.raises(PackageError) as raised:
        debian.ensure_packages(["clang-19"])
    assert str(raised.value) == (
        "apt-get -o DPkg::Lock::Timeout=300 --quiet install --yes --no-install-recommends clang-19 "
        "ended with code 100:\nE: broken"
    )
