"""Words and lists of words, as a stack file has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MISREAD: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
"""Words that one or the other version of YAML takes for something else than text."""


def word(value: str) -> str:
    """A word that every reader of YAML takes for a text: in quotes where it begins with no letter (``1e3``, ``022``,
    ``2026-11-29``), or is one of YAML's own.
    """
    return value if value[:1].isalpha() and value.lower() not in _MISREAD else f'"{value}"'


def flow(values: Sequence[str]) -> str:
    """Words as a list in one line."""
    return f"[{', '.join(map(word, values))}]"
