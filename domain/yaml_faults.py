"""Why a text is not YAML, in words for somebody who has just saved it.

It owns the guess and its words, and never quotes the text, which may be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from domain.secret_texts import holds_secret


@dataclass(frozen=True)
class Fault:
    """``rule`` reads on from the file's name; ``line`` counts from 1."""

    rule: str
    fix: str
    line: int | None


_MARKER: Final = re.compile(r"(<{7}|>{7}|\|{7})( |$)|={7}$")
_PLAIN_START: Final = {"@": "an @", "`": "a backquote", "%": "a percent sign"}


def yaml_fault(text: str, error: Any) -> Fault:
    """What is wrong, by PyYAML's MarkedYAMLError and the lines around its marks."""
    lines = text.splitlines()
    at = None if error.problem_mark is None else error.problem_mark.line
    start = None if error.context_mark is None else error.context_mark.line
    problem, context = error.problem or "", error.context or ""
    for number, content in enumerate(lines):
        if _MARKER.match(content):
            rule = "is not YAML: it holds a conflict of git that is not solved"
            return Fault(
                rule, "keep one of the two sides, and remove the lines <<<<<<<, ======= and >>>>>>>", number + 1
            )
    near = [number for number in (at, None if at is None else at - 1, start) if number is not None]
    for number in near:
        if 0 <= number < len(lines) and "\t" in lines[number][: len(lines[number]) - len(lines[number].lstrip())]:
            return Fault("is not YAML: a tab stands where only spaces may", "indent with spaces", number + 1)
    for number in near:
        if 0 <= number < len(lines) and (found := _pasted(lines[number])) is not None:
            return Fault(*found, number + 1)
    if "PRIVATE KEY" in text and any(holds_secret(lines[number]) for number in near if 0 <= number < len(lines)):
        rule = "is not YAML: a private key stands in it as plain text"
        fix = "remove it, make a new one, and set that: `pulumi config set --secret NAME < KEYFILE`"
        return Fault(rule, fix, None if at is None else at + 1)
    if "mapping values are not allowed" in problem and (before := _without_colon(lines, at)) is not None:
        return Fault(*_NO_COLON, before + 1)
    if (
        "block mapping" in context
        and (before := _without_colon(lines, at)) is not None
        and at is not None
        and at < len(lines)
        # Of the same level: else it may as well be the end of a text or of a list over several lines.
        and _indent(lines[before]) == _indent(lines[at]) > 0
    ):
        return Fault(*_NO_COLON, before + 1)
    found = _by_words(problem, context)
    if found is None:
        found = ("is not YAML", "look at this line and the one before")
        return Fault(*found, None if at is None else at + 1)
    of_start = start is not None and ("quoted" in context or "flow" in context or "simple key" in context)
    marked = start if of_start else at
    if "start any token" in problem and at is not None and at < len(lines):
        column = error.problem_mark.column
        sign = _PLAIN_START.get(lines[at][column : column + 1], "this sign")
        found = (f"is not YAML: a text can't start with {sign}", "put the text in quotes")
    return Fault(*found, None if marked is None else marked + 1)


_NO_SPACE: Final = "\u00a0\u2000-\u200b\u202f\u2060\u3000\ufeff"
"""Spaces and signs without width that web pages have, and that YAML takes for letters."""


def _pasted(line: str) -> tuple[str, str] | None:
    """What of a web page or of another tool stands in the line."""
    if re.match(rf" *[{_NO_SPACE}]", line) or re.search(rf":[{_NO_SPACE}]", line):
        return (
            "is not YAML: a space of a web page stands where only a plain one may",
            "type the spaces of the line anew",
        )
    if re.match(r"`{3}|~{3}", line):
        return "is not YAML: a line of Markdown stands in it", "remove the lines that begin with ```"
    return None


_NO_COLON: Final = (
    "is not YAML: here a colon is missing, or the space behind it",
    "write it like pod_cidr: 10.42.0.0/16",
)


def _without_colon(lines: list[str], at: int | None) -> int | None:
    """The last line before the mark that holds something, where it is no setting."""
    for number in range(min(at or 0, len(lines)) - 1, -1, -1):
        content = re.sub(r"(^|\s)#.*", "", lines[number]).strip()
        if content:
            is_setting = ": " in content or content.endswith(":") or content.startswith(("- ", "---"))
            return None if is_setting else number
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _by_words(problem: str, context: str) -> tuple[str, str] | None:
    """Rule and fix by what the parser (libyaml, or PyYAML's own) says."""
    if "quoted scalar" in context and "escape" in (problem + context):
        return "is not YAML: a backslash in double quotes starts no sequence that YAML knows", "put it in single quotes"
    if "quoted scalar" in context:
        return "is not YAML: a quote that is opened here is not closed", "close it, or put the text in the other quotes"
    if "simple key" in context:
        return _NO_COLON
    if "flow" in context or "expected ',' or" in problem:
        return "is not YAML: a [ or { that is opened here is not closed, or a comma is missing", "close it with ] or }"
    if "mapping values are not allowed" in problem:
        rule = "is not YAML: a colon stands where none can be; perhaps it is of the text, or of a second setting"
        return rule, "put the text in quotes, or write each setting in a line of its own, indented alike"
    if "start any token" in problem:
        return "is not YAML", "put the text in quotes"
    if "block mapping" in context or "block collection" in context or "block sequence" in (problem + context):
        return "is not YAML: this line is indented otherwise than those beside it", "indent all of one level alike"
    if "alphabetic or numeric" in (problem + context) or "anchor" in context or "alias" in context:
        return "has an anchor or an alias (& or *)", "write the value out, or quote the text"
    if "block scalar" in context:
        return "is not YAML: behind | or > stands what can't stand there", "begin the text in the next line"
    return None
