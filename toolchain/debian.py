"""Debian packages: installs what is missing, says exactly what to do when it may not.

It owns nothing but the call of apt; which packages are needed, and why, is the caller's knowledge.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from toolchain import cache, processes
from toolchain.errors import PackageError
from toolchain.progress import Report, Reporter

LISTS_OLD_AFTER_SECONDS = 24 * 3600.0
_LISTS = Path("/var/lib/apt/lists")
_LOCK_DEADLINE_SECONDS = 300
"""How long apt waits for another apt or dpkg, for example the daily upgrade."""


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those of the packages that are not installed, in the given order and each once."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return []
    result = processes.capture(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *wanted])
    installed = {line.split(" ")[0] for line in result.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def ensure_packages(names: Sequence[str], *, progress: Report | None = None) -> list[str]:
    """Installs the packages that are missing, without recommended ones; returns the names it installed.

    The package lists are fetched first when they are older than a day or do not know a name. Raises
    :class:`~toolchain.errors.PackageError` on a machine without apt, without root, or when apt fails.
    """
    if not names:
        return []
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise PackageError(
            f"Debian packages are needed ({' '.join(names)}), and this machine has no apt; install their like by hand."
        )
    missing = missing_packages(names)
    if not missing:
        return []
    if os.geteuid() != 0:
        raise PackageError(
            f"Debian packages are missing: {' '.join(missing)}. Only root can install them: "
            f"sudo apt-get update && sudo apt-get install --no-install-recommends {shlex.join(missing)}"
        )
    report = Reporter("apt", progress)
    with cache.lock(cache.root() / "apt", on_wait=lambda holder: report("wait", f"for {holder}")):
        missing = missing_packages(missing)
        if missing:
            if _lists_age_seconds() > LISTS_OLD_AFTER_SECONDS or _unknown(missing):
                report("install", "package lists")
                _apt(["update"])
            unknown = _unknown(missing)
            if unknown:
                raise PackageError(f"apt knows no package named {' or '.join(unknown)}; is this Debian 12 or newer?")
            report("install", " ".join(missing))
            _apt(["install", "--yes", "--no-install-recommends", *missing])
            report("done", " ".join(missing))
    return missing


def _apt(arguments: Sequence[str]) -> None:
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={_LOCK_DEADLINE_SECONDS}", "--quiet", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    code, tail = processes.stream(command, environment=environment)
    if code != 0 and "dpkg --configure -a" in tail:
        # What it asks for when an installation was killed, here or by whoever used the machine before.
        processes.stream(["dpkg", "--configure", "-a"], environment=environment)
        code, tail = processes.stream(command, environment=environment)
    if code != 0:
        raise PackageError(f"{shlex.join(command)} ended with code {code}:\n{tail}")


def _unknown(names: Sequence[str]) -> list[str]:
    """Names for which the present lists offer no version to install."""
    output = processes.capture(["apt-cache", "policy", *names], environment={**os.environ, "LC_ALL": "C.UTF-8"}).stdout
    known: set[str] = set()
    current = ""
    for line in output.splitlines():
        if not line.startswith(" "):
            current = line.rstrip(":")
        elif line.strip().startswith("Candidate:") and "(none)" not in line:
            known.add(current)
    return [name for name in names if name not in known]


def _lists_age_seconds() -> float:
    try:
        newest = max(path.stat().st_mtime for path in (*_LISTS.glob("*Release"), *_LISTS.glob("*Packages*")))
    except ValueError:
        return float("inf")
    return time.time() - newest
