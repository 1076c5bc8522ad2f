"""A value that breaks a rule: the error that every rule for single values raises, and how to find it again behind what
pydantic makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class RuleError(ValueError):
    """A value that breaks a rule. ``rule`` reads on from the value; ``fix`` says what to write, None where the
    example of the setting says it best. Neither shows a secret. ``public``: the value looks like one and is none.
    """

    def __init__(self, rule: str, fix: str | None = None, *, hide_value: bool = False, public: bool = False) -> None:
        super().__init__(rule)
        self.rule = rule
        self.fix = fix
        self.hide_value = hide_value
        self.public = public


def cause_of(error: Any) -> RuleError | None:
    """The broken rule behind one entry of a pydantic ``ValidationError.errors()``, None for pydantic's own checks."""
    cause = error.get("ctx", {}).get("error")
    return cause if isinstance(cause, RuleError) else None


def without_followers(errors: Sequence[Any]) -> list[Any]:
    """Errors of pydantic without "too short" for a list that is short only because its entries were refused."""
    places = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["type"] != "too_short" or error["loc"] not in places]
