"""Values that may come from other resources, made into what a resource takes.

What is known stays known: it is worked out at once, and a preview shows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import pulumi

Made = TypeVar("Made")


def once_known(make: Callable[..., Made], *values: pulumi.Input[Any]) -> pulumi.Input[Made]:
    """What ``make`` makes of the values: at once where all are known."""
    if any(isinstance(value, pulumi.Output) or inspect.isawaitable(value) for value in values):
        given: pulumi.Output[list[Any]] = pulumi.Output.all(*values)
        return given.apply(lambda known: make(*known))
    return make(*values)


def text_of(value: pulumi.Input[object]) -> pulumi.Input[str]:
    """An address, a range or a number as text."""
    return once_known(str, value)
