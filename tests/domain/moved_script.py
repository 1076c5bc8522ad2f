"""A node's script as it ships, run in a folder that stands for the machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from domain.node_files import script


def move_script(root: Path, name: str, paths: Mapping[str, str], doubles: Mapping[str, str]) -> None:
    """Writes the script into the folder ``root``, with each of ``paths`` (all of which it names) moved below that, and
    ``doubles``, the bodies of the commands that stand before the machine's own, into ``root/bin``.
    """
    text = script(name)
    for path, moved in paths.items():
        assert path in text
        text = text.replace(path, str(root / moved))
    (root / name).write_text(text)
    (root / "bin").mkdir()
    for command, body in doubles.items():
        (root / "bin" / command).write_text(f"#!/bin/sh\n{body}\n")
        (root / "bin" / command).chmod(0o755)


def run_script(
    root: Path, name: str, path: str, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Its end, run with these words. Its doubles find the folder in ``$ROOT``; ``path`` is where all other commands are
    looked for.
    """
    return subprocess.run(
        ["/bin/sh", root / name, *words],
        env={**(environment or {}), "PATH": f"{root}/bin{os.pathsep}{path}", "ROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=30,
    )
