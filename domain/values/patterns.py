"""Patterns of values for editors, as they stand in the JSON Schema."""

from __future__ import annotations

from typing import Final

from pydantic import WithJsonSchema

LABEL_PATTERN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def pattern(regex: str) -> WithJsonSchema:
    """For editors; the rule itself says more than its form."""
    return WithJsonSchema({"type": "string", "pattern": f"^({regex})$"})
