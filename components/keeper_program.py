"""The keeper's archive, from the package ``keeper/`` that stands beside the components."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from domain.keeper import keeper_program

PACKAGE: Final = Path(__file__).parents[1] / "keeper"


def program(package: Path = PACKAGE) -> bytes:
    """As :func:`domain.keeper.keeper_program` makes it; raises its ProgramError."""
    return keeper_program(
        {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in sorted(package.rglob("*.py"))}
    )
