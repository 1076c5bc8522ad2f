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


POOL_NAME_LIMIT: Final = 20
"""Characters: with the longest stack name and a number it is a Node's name still."""
TODAYS_GROUPS: Final = ("server", "agent")
"""What control plane and workers have in the place of a pool's name."""


def pool_name(value: str) -> str:
    """A pool's name: a DNS label that starts with a letter, of at most 20 characters, and neither server nor agent."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", value, re.ASCII) or len(value) > POOL_NAME_LIMIT:
        raise RuleError(
            "is not a name of lower-case letters, digits and hyphens, a letter first, with at most "
            f"{POOL_NAME_LIMIT} characters",
            "write it like db",
        )
    if value in TODAYS_GROUPS:
        whose = "the control plane" if value == "server" else "hetzner.workers"
        raise RuleError(f"is what the nodes of {whose} are called", "take another name, like db")
    return value


_SYSTEMS: Final = {
    "debian": r"[0-9]{2}",
    "ubuntu": r"[0-9]{2}[.](04|10)",
    "fedora": r"[0-9]{2}",
    "rocky": r"[0-9]{1,2}",
    "alma": r"[0-9]{1,2}",
    "centos-stream": r"[0-9]{1,2}",
    "opensuse": r"[0-9]{2}",
}
"""How Hetzner names the images of systems: name, hyphen, release (https://docs.hetzner.cloud/reference/cloud#images)."""


def system_image(value: str) -> str:
    """An image of a system has its release behind a hyphen; one of another name is anybody's."""
    for system, release in _SYSTEMS.items():
        found = re.fullmatch(rf"{system}[-_.]?([0-9.]*)", value)
        if found and not re.fullmatch(rf"{system}-{release}", value):
            example = {"debian": "debian-12", "ubuntu": "ubuntu-24.04"}.get(system, f"{system}-9")
            right = re.fullmatch(release, found[1])
            fix = f"write {system}-{found[1]}" if right else f"write it like {example}"
            raise RuleError("is no image of Hetzner, which has the release behind a hyphen", fix)
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
    AfterValidator(system_image),
    WithJsonSchema({"type": ["string", "integer"]}),
]
