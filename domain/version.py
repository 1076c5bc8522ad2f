"""The version of the program: the only place that names it.

`./isthmus --version` reads it before there is any environment, so this module imports what every Python has.
"""

from __future__ import annotations

from typing import Any, Final

VERSION: Final = "0.1.0"
"""Raised with every release that changes what stacks write or read; see "The contract between stacks evolves" in
docs/decisions.md.
"""

PROGRAM: Final = "program"
"""Output of a stack: what raised it, as :func:`program_output` gives it."""


def program_output() -> dict[str, Any]:
    """Plain data. It stands beside the output ``link`` and not in it, where readers of the first version refuse a field
    that they do not know.
    """
    return {"version": VERSION}
