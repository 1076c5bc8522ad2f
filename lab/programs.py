"""The programs that every machine finds in /usr/libexec/isthmus-lab: what the real k3s has inside itself.

The directory is laid out once for the lab, as hard links where the file system allows, and bound read-only into each
machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lab import state
from lab.machines import Bind
from toolchain import RECIPES, cache

TARGET: Final = "/usr/libexec/isthmus-lab"
TOOLS: Final = ("kubernetes", "etcd")
"""The toolchain's names of what is in it."""


def directory() -> Path:
    """The directory on this machine."""
    return state.STATE / "programs"


def lay_out(tools: Mapping[str, Path]) -> None:
    """Fills the directory; a program of another build is replaced, for machines that start from now on."""
    directory().mkdir(parents=True, exist_ok=True)
    for tool in TOOLS:
        for name in RECIPES[tool].files:
            source, target = tools[tool] / name, directory() / name
            if target.exists() and target.samefile(source):
                continue
            target.unlink(missing_ok=True)
            cache.place(source, target, mode=0o755)


def bind() -> Bind:
    """What a machine's spec needs."""
    return Bind(source=directory(), target=TARGET)
