"""A stack by itself, without the others of its fleet and without a file: for tests of what is made from settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from domain.consistency import stack_problems
from domain.places.registry import StackSettings
from domain.problems import Problem
from domain.range_rules import range_problems
from domain.reading import read_stack, whole


def parse_stack(
    stack: str, config: Mapping[str, Any], *, secrets: Collection[str] | None = None
) -> StackSettings | list[Problem]:
    """The settings of a stack, or everything that is wrong with them, each alone and with each other.

    ``config`` is the stack file's ``config`` object, with keys such as ``isthmus:network``. ``secrets`` are the keys
    of the secrets that are there; by default those that ``config`` has. Their values are never looked at.
    """
    draft = read_stack(stack, config, secrets=secrets)
    problems = [*draft.problems, *stack_problems(draft), *range_problems([draft])]
    return problems or whole(draft)
