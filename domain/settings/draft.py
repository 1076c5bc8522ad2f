"""What could be read of a stack file, whatever else stands there: every valid value, and a problem for each other."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from domain.problems import Problem
from domain.settings.forms import model_of
from domain.settings.section import Section

Incomplete = object
"""Settings, or a section of them, in which anything may be missing: what is refused has no attribute at all. Only
:func:`known` looks into them."""


@dataclass(frozen=True)
class StackDraft:
    """What could be read of a stack: ``settings`` holds every valid field, ``problems`` a line for each of the others.
    ``secrets`` are the names of the secrets that are there. ``computed_cilium_mtu`` is what ``cilium.mtu`` is by the
    stack alone where no file says it.
    """

    stack: str
    settings: Incomplete
    problems: tuple[Problem, ...]
    secrets: frozenset[str]
    computed_cilium_mtu: int | None = None


def known(section: Incomplete, *path: str) -> Any:
    """The setting at the path, or None where a part of it is missing or was refused.

    Raises LookupError for a path that no model has, also where the section before it is not there.
    """
    if isinstance(section, Section):
        _check_path(type(section), path)
    value: Any = section
    for name in path:
        value = getattr(value, name, None)
    return value


@functools.cache
def _check_path(model: type[Section], path: tuple[str, ...]) -> None:
    inner: type[Section] | None = model
    for name in path:
        if inner is None or name not in inner.model_fields:
            raise LookupError(f"{model.__name__} has no setting {'.'.join(path)}")
        inner = model_of(inner.model_fields[name].annotation)


def with_values(draft: StackDraft, section: str, values: Mapping[str, Any]) -> StackDraft:
    """The draft with other values in a section that is known."""
    changed = known(draft.settings, section).model_copy(update=values)
    return replace(draft, settings=cast("Section", draft.settings).model_copy(update={section: changed}))


class Encrypted:
    """Stands for a value that Pulumi has encrypted where a plain one belongs; ``file_shape.py`` says so."""


class Refused:
    """Stands in a draft for a section that is there and has no valid form at all; :func:`known` finds nothing in it."""


def without_effect(draft: StackDraft, setting: str, reason: str) -> Problem:
    """Of a setting that does nothing in a stack of this kind."""
    return Problem(draft.stack, setting, "", f"has no effect: {reason}", "remove it")
