"""Marks in stack files, ``<like this>``: places that only the user can fill in.

The shipped files and those of `./isthmus new` have them. Whatever rule the mark itself breaks, what its user has to
hear is what belongs there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from domain.problems import Problem

_MARK: Final = re.compile(r"<([^<>]+)>")


def not_filled_in(problem: Problem) -> Problem:
    """The problem as it is, or that the mark in its place is not filled in."""
    found = _MARK.fullmatch(problem.value)
    if found is None:
        return problem
    return replace(problem, value="", rule="is not filled in yet", fix=f"write {found[1]}")
