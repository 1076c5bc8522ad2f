"""What is wrong with a setting, as data: who, what, why, and what to do. Owns the text that a person reads, nothing
else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from domain.secret_texts import holds_secret

HIDDEN = "(hidden)"
"""Stands for a text that may hold a password or is a secret by its form."""
VALUE_LIMIT = 80
"""Characters of a value that a message shows; a longer value is cut."""
PROBLEMS_LIMIT = 100
"""Problems of one stack file that are shown; of more there is only the number."""


@dataclass(frozen=True)
class Problem:
    """One mistake in one stack file.

    ``rule`` reads on from the value (``overlaps de: network.pod_cidr 10.42.0.0/16; linked clusters need distinct pod
    CIDRs``) and ``fix`` says what to write instead. ``value`` is what the file says, shortened and printable; it is
    empty where a setting is missing and always for a secret. ``line`` counts from 1, None where no text was parsed.
    ``count`` is the number of mistakes that it stands for, see :func:`bounded`.
    """

    stack: str
    setting: str
    value: str
    rule: str
    fix: str
    line: int | None = None
    count: int = 1

    def as_json(self) -> dict[str, str | int | None]:
        """Plain data: the parts and the whole text. A name that is no UTF-8 is escaped."""
        return {
            "stack": shown(self.stack),
            "setting": printable(self.setting),
            "value": self.value,
            "rule": printable(self.rule),
            "fix": printable(self.fix),
            "line": self.line,
            "text": str(self),
        }

    def __str__(self) -> str:
        said = " ".join(part for part in (self.setting, self.value, self.rule) if part)
        stack = shown(self.stack)
        place = "" if self.line is None else f" [Pulumi.{stack}.yaml:{self.line}]"
        end = "" if self.fix.endswith("?") else "."
        return printable(f"{stack}: {said}; {self.fix}{end}{place}")


def printable(text: str) -> str:
    """The text with everything escaped that no terminal should get: names of files may hold anything."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shown(value: object) -> str:
    """The value as a message shows it: one line, printable, at most :data:`VALUE_LIMIT` characters; a list or an object
    only by its kind, since it may hold anything, and nothing of what may be ``user:password@host`` or is a secret by
    its form.
    """
    if value is None:
        return "(empty)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "(an object)"
    if isinstance(value, list | tuple):
        return "(a list)"
    if isinstance(value, int) and abs(value) >= 10**VALUE_LIMIT:
        return "(a huge number)"
    text = str(value)
    if not text:
        return '""'
    if holds_secret(text) or ("@" in text and ":" in text.replace("@sha256:", "").rpartition("@")[0]):
        return HIDDEN
    if not text.isprintable() or text != text.strip():
        text = ascii(text[: VALUE_LIMIT + 1])
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 3] + "..."


def count_of(problems: Iterable[Problem]) -> int:
    """How many mistakes there are."""
    return sum(problem.count for problem in problems)


def bounded(problems: Iterable[Problem]) -> list[Problem]:
    """The first :data:`PROBLEMS_LIMIT` of each stack; a last one says how many more it has."""
    result: list[Problem] = []
    shown_of: Counter[str] = Counter()
    more: Counter[str] = Counter()
    for problem in problems:
        if shown_of[problem.stack] < PROBLEMS_LIMIT:
            shown_of[problem.stack] += 1
            result.append(problem)
        else:
            more[problem.stack] += problem.count
    for stack, count in more.items():
        rule = f"has {count} more problem{'' if count == 1 else 's'}"
        result.append(Problem(stack, f"Pulumi.{shown(stack)}.yaml", "", rule, "mend those above first", count=count))
    return in_file_order(result)


def kind_of(value: object) -> str:
    """What a message says of a value that it must not show."""
    if isinstance(value, str) and value:
        return "(a text)"
    if isinstance(value, bool):
        return "(a truth value)"
    return "(a number)" if isinstance(value, int | float) else shown(value)


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """By stack, then by line; problems without a line come after those with one, and keep their order."""
    return sorted(problems, key=lambda problem: (problem.stack, problem.line is None, problem.line or 0))
