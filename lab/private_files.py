"""Small files of the lab: secrets that only root may read, files that are never half written, the end of logs."""

from __future__ import annotations

import os
from pathlib import Path

TAIL_LINES = 15


def write_secret(path: Path, text: str) -> None:
    """Writes the file with mode 0600 from its first byte on, and whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def write_whole(path: Path, text: str) -> None:
    """Writes the file whole or not at all; one that is there keeps its mode."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    if path.exists():
        new.chmod(path.stat().st_mode & 0o777)
    new.replace(path)


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log; a sentence when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return f"there is no {path}"
    return "\n".join(text.splitlines()[-lines:])
