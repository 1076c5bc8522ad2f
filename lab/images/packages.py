"""The Debian packages of a layer, found and fetched by the host's apt."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.images.model import LayerRecipe
from lab.images.recipes import LAYERS, UNUSED_PACKAGES
from toolchain import PackageError
from toolchain.progress import Reporter


def fetch_packages(recipe: LayerRecipe, scratch: Path, report: Reporter) -> list[Path]:
    """Download the recipe's packages, without those of the layer below; sorted by name."""
    if not recipe.packages and not recipe.single_packages:
        return []
    report("install", "package lists")
    present: set[str] = set()
    if recipe.below:
        present = _with_dependencies(LAYERS[recipe.below].packages, scratch)
    wanted = _with_dependencies(recipe.packages, scratch) if recipe.packages else set()
    wanted |= set(recipe.single_packages)
    names = sorted(wanted - present - UNUSED_PACKAGES)
    folder = scratch / "packages"
    folder.mkdir()
    report("download", f"{len(names)} Debian packages")
    _run_apt(["download", *names], scratch, working_directory=folder)
    return sorted(folder.glob("*.deb"))


def _with_dependencies(packages: Sequence[str], scratch: Path) -> set[str]:
    """The packages and all they depend on, as apt would install them where nothing is installed yet."""
    output = _run_apt(["--simulate", "install", *packages], scratch)
    return {line.split()[1].partition(":")[0] for line in output.splitlines() if line.startswith("Inst ")}


def _run_apt(arguments: Sequence[str], scratch: Path, *, working_directory: Path | None = None) -> str:
    """Call apt with the host's sources and an empty system of its own."""
    status = scratch / "status"
    status.touch()
    command = ["apt-get", "-qq", "--yes", "--no-install-recommends"]
    for option in (f"Dir::State::status={status}", "APT::Sandbox::User=root", "Debug::NoLocking=1"):
        command += ["-o", option]
    result = subprocess.run(
        [*command, *arguments],
        cwd=working_directory,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise PackageError(f"apt-get {' '.join(arguments)} ended with {result.returncode}:\n{result.stderr}")
    return result.stdout
