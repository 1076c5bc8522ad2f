"""Values of a stack file that Pulumi's own YAML reader takes for something else than what stands there.

It owns which those are. Pulumi reads YAML 1.1's other ways to write a number, and dates, though it takes ``no`` for a
text: ``port: 022`` is 18 to it (tried with Pulumi 3.259.0, `pulumi config --json`).
"""

from __future__ import annotations

import re
from typing import Final

_NUMBERS: Final = (
    (re.compile(r"[-+]?0o?[0-7_]+", re.ASCII), 8, "an octal"),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+", re.ASCII), 16, "a hexadecimal"),
    (re.compile(r"[-+]?0b[01_]+", re.ASCII), 2, "a binary"),
    (re.compile(r"[-+]?[0-9][0-9_]*", re.ASCII), 10, "a decimal"),
)
_UNDERSCORES: Final = re.compile(r"[-+]?[0-9][0-9_]*\.[0-9_]*", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].{1,40})?", re.ASCII)
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
DIGITS_LIMIT: Final = 16
"""Characters of a number that a message works out; a longer one is no port, and may be a secret."""


def misread(text: str) -> tuple[str, str] | None:
    """What Pulumi takes the plain, unquoted text for, as a rule and a fix; None where it is what it seems."""
    if not text or text[0] not in "0123456789+-.":
        return None  # nearly every text, and soon told
    if text.isascii() and text.isdigit() and (text[0] != "0" or text == "0"):
        return None  # nearly every number, likewise
    if _NO_NUMBER.fullmatch(text):
        return "is a number to Pulumi, and one that it can't write down", "write it in quotes"
    if _DATE.fullmatch(text):
        return "is a date to Pulumi, which writes it out in its own way", "write it in quotes"
    if len(text) > DIGITS_LIMIT:
        return None
    for form, base, kind in _NUMBERS:
        if form.fullmatch(text) and (number := _number(text, base)) is not None:
            if text.lstrip("+-").isdigit() and number == int(text):
                return None
            meant = int(text) if text.lstrip("+-").isdigit() else number
            rule = f"is {number} to Pulumi, which reads {kind} number here"
            return rule, f"write {meant}, or '{text}' in quotes if it is a text"
    if "_" in text and _UNDERSCORES.fullmatch(text):
        return "is a number to Pulumi, which leaves the underscores out", "write it without them, or in quotes"
    return None


def _number(text: str, base: int) -> int | None:
    digits = re.sub(r"^([-+]?)0[obx]", r"\1", text.replace("_", ""))
    try:
        return int(digits, base)
    except ValueError:
        return None
