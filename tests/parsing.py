"""Reading our own source in tests."""

from __future__ import annotations

import ast
import gc


def parsed(source: str) -> ast.Module:
    """As :func:`ast.parse`, with no garbage collected meanwhile: where that runs code, as it does with what runs of the
    program left, CPython 3.11 ends in "SystemError: AST constructor recursion depth mismatch".
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collects:
            gc.enable()
