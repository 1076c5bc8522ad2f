"""`./isthmus lab ...` as a person types it, called by a test of the lab that it stands in."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from lab import cgroups

ISTHMUS: Final = Path(__file__).resolve().parents[2] / "isthmus"
UP_SECONDS: Final = 1800.0


def lab_command(*words: str) -> None:
    """Has to end well. `lab down` ends whoever is in the lab's control group, so we leave it before, and are in it
    again with the lab that comes next.
    """
    if words[0] == "down":
        cgroups.leave()
    done = subprocess.run([str(ISTHMUS), "lab", *words], capture_output=True, text=True, timeout=UP_SECONDS, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    if words[0] == "up":
        cgroups.join()
