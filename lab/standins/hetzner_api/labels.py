"""Labels and label selectors, as the API documents them (they are the ones of Kubernetes, plus a reserved prefix)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]

RESERVED_PREFIX = "hetzner.cloud/"

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_KEY = rf"(?:{_PREFIX}/)?{_NAME}"
_VALUE = rf"(?:{_NAME})?"

_KEY_PATTERN = re.compile(_KEY)
_VALUE_PATTERN = re.compile(_VALUE)
_SET_PATTERN = re.compile(rf"(?P<key>{_KEY})\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALITY_PATTERN = re.compile(rf"(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})")
_PRESENCE_PATTERN = re.compile(rf"(?P<absent>!?)\s*(?P<key>{_KEY})")
_PREFIX_LENGTH = 253


class SelectorError(ValueError):
    """The text is not a label selector; the message names the part."""


def label_problems(labels: Labels) -> list[str]:
    """Return what is wrong with the labels, nothing when they are valid."""
    problems = []
    for key, value in labels.items():
        if not _KEY_PATTERN.fullmatch(key) or len(key.rpartition("/")[0]) > _PREFIX_LENGTH:
            problems.append(f"label key {key!r} is not valid")
        elif key.startswith(RESERVED_PREFIX):
            problems.append(f"label key {key!r} has the reserved prefix {RESERVED_PREFIX!r}")
        if not _VALUE_PATTERN.fullmatch(value):
            problems.append(f"label value {value!r} is not valid")
    return problems


def parse_selector(text: str) -> Requirement:
    """Return a test of labels for a selector such as `env in (dev,test),role!=router,!old`; raise SelectorError."""
    requirements = [_requirement(part.strip()) for part in _split(text)]
    return lambda labels: all(requirement(labels) for requirement in requirements)


def _split(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def _requirement(part: str) -> Requirement:
    if match := _SET_PATTERN.fullmatch(part):
        key = match["key"]
        values = {value.strip() for value in match["values"].split(",")}
        if match["operator"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: key not in labels or labels[key] not in values
    if match := _EQUALITY_PATTERN.fullmatch(part):
        key, value = match["key"], match["value"]
        if match["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _PRESENCE_PATTERN.fullmatch(part):
        key, wanted = match["key"], not match["absent"]
        return lambda labels: (key in labels) == wanted
    raise SelectorError(f"{part!r} is not a label selector")
