"""Rules for the names of Hetzner's catalogue."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, StrictStr, WithJsonSchema

from domain.places.hetzner.catalogue import NETWORK_ZONES, near_location
from domain.values.patterns import pattern
from domain.values.rule_error import RuleError


def server_image(value: object) -> object:
    """An image's id may stand there as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**12 else value


PROVIDER_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


def provider_word(value: str) -> str:
    """A name of the provider's catalogue: location, network zone, server type, image."""
    if not PROVIDER_WORD.fullmatch(value):
        lower = value.lower()
        fix = f"write {lower}" if PROVIDER_WORD.fullmatch(lower) else "take it from Hetzner's list"
        raise RuleError("is not a name of lower-case letters, digits, dots and hyphens", fix)
    return value


def location_word(value: str) -> str:
    """A name of the provider's catalogue: location."""
    if not PROVIDER_WORD.fullmatch(value):
        # In small letters the name of a city would be refused again.
        near = near_location(value.lower())
        fix = f"write {near}" if near else f"take one of {', '.join(NETWORK_ZONES)}"
        raise RuleError("is not a name of lower-case letters, digits, dots and hyphens", fix)
    return value


Location = Annotated[StrictStr, AfterValidator(location_word), pattern(r"[a-z0-9][a-z0-9._-]{0,62}")]
ProviderWord = Annotated[StrictStr, AfterValidator(provider_word), pattern(r"[a-z0-9][a-z0-9._-]{0,62}")]
ServerImage = Annotated[
    StrictStr,
    BeforeValidator(server_image),
    AfterValidator(provider_word),
    WithJsonSchema({"type": ["string", "integer"]}),
]
