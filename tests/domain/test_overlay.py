"""The overlay's door: what the program has to know of it stands in one module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from domain.overlay import NETBIRD_INTERFACE, NETBIRD_RANGE
from tests.parsing import parsed

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("value", [NETBIRD_INTERFACE, str(NETBIRD_RANGE)])
def test_interface_and_range_are_written_down_once(value: str) -> None:
    written = [
        str(path.relative_to(REPOSITORY))
        for package in ("domain", "components", "cli")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for node in ast.walk(parsed(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == value
    ]
    assert written == ["domain/overlay.py"]
