"""The SSH keys of a lab."""

from __future__ import annotations

from pathlib import Path

from lab import state
from lab.commands import run


def ssh_key(name: str) -> Path:
    """The private half of an SSH key of this lab, made on first use; ``user`` is the person's."""
    path = state.STATE / "ssh" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.with_suffix(".pub").unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)])
    return path


def public_key(private: Path) -> str:
    """The public half, without its comment."""
    return " ".join(private.with_name(f"{private.name}.pub").read_text(encoding="utf-8").split()[:2])
