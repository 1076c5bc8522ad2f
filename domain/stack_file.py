"""The text of a stack file as plain data with line numbers, whatever somebody has written into it.

It owns the reading of YAML and nothing of its meaning. Only what Pulumi's own reader understands counts: YAML's core
schema (so ``no`` is a text), no anchors, no aliases, no tags. Anything else is a problem with a line, never an
exception, and never quotes the text: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from domain.file_shape import CONFIG, config_of, encrypted_setting, is_config, secret_faults, without_encrypted
from domain.names import PROJECT
from domain.places.registry import namespaces, secrets, sections
from domain.problems import Problem, shown
from domain.project_file import ProjectFile, in_our_namespace, project_file
from domain.settings.messages import UNSHOWN
from domain.yaml_faults import yaml_fault
from domain.yaml_scalars import misread

SIZE_LIMIT: Final = 256 * 1024
"""Bytes of a stack file; a real one has a few thousand."""
DEPTH_LIMIT: Final = 32
"""Levels of nesting."""
PATH_LIMIT: Final = 300
"""Characters of a setting's path whose line is kept; below a longer one there is nothing that a message could name."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,100}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,100}|[0-9]{1,100}(\.[0-9]{0,100})?)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_CONSTANTS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass
class StackFile:
    """What the text holds: the ``config`` object, the line of every setting (``network.pod_cidr``, ``peers.0``,
    ``hcloud:token``), and what is wrong with the text itself.
    """

    config: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True
    namespace: str = PROJECT
    """The project's name, before the names of its settings; read as ours."""
    environment: bool = False
    """Whether further settings come from environments of Pulumi ESC, which only Pulumi reads."""
    misplaced: bool = False
    """Whether settings stand where Pulumi does not see them."""

    def line_of(self, setting: str) -> int | None:
        """The line of the setting, or of what it would stand in."""
        path = setting
        while path:
            if path in self.lines:
                return self.lines[path]
            cut = max(path.rfind("."), 0)
            path = path[:cut]
        return self.lines.get("config")


@dataclass(frozen=True)
class Unreadable:
    """Stands for the text of a file that can't be used at all. ``rule`` reads on from the file's name."""

    rule: str
    fix: str
    line: int | None = None
    name: str | None = None
    """The file's name, where it is not that of a stack file."""


class _UnreadableError(Exception):
    """The text can't be used at all; becomes the file's one problem."""

    def __init__(self, rule: str, fix: str, line: int | None = None) -> None:
        super().__init__(rule)
        self.reason = Unreadable(rule, fix, line)


def stack_file_name(stack: str) -> str:
    """The file that holds a stack's settings."""
    return f"Pulumi.{stack}.yaml"


def too_large(size: int) -> Unreadable:
    """Why a file of this many bytes is not read."""
    return Unreadable(f"has {size} bytes; a stack file has at most {SIZE_LIMIT}", "is it the right file?")


def read_project_file(text: str | Unreadable, suffix: str = ".yaml") -> ProjectFile:
    """What Pulumi.yaml says of the stack files; of one that can't be read, what is so without it."""
    if isinstance(text, Unreadable):
        return ProjectFile(suffix=suffix)
    try:
        return project_file(_document("", text, StackFile()), suffix)
    except (_UnreadableError, RecursionError):
        return ProjectFile(suffix=suffix)


def parse_stack_file(stack: str, text: str | Unreadable, namespace: str = PROJECT) -> StackFile:
    """Reads the text; never raises. ``namespace`` is the project's name."""
    if isinstance(text, Unreadable):
        return _unreadable(stack, text)
    result = StackFile(namespace=namespace)
    try:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > SIZE_LIMIT:
            return _unreadable(stack, too_large(size))
        document = _document(stack, text, result)
        if document is not None and not isinstance(document, dict):
            raise _UnreadableError("is not an object with the key config", "see the example stack files", 1)
        config = (document or {}).get("config")
        if config is not None and not isinstance(config, dict):
            raise _UnreadableError(
                "has a config that is not an object", "see the example stack files", result.lines["config"]
            )
    except _UnreadableError as error:
        return _unreadable(stack, error.reason)
    result.environment = bool((document or {}).get("environment"))
    result.config, hints = config_of(document or {}, namespace)
    result.misplaced = bool(hints)
    for key, rule, fix in hints:
        line = result.lines.get(CONFIG if is_config(key) else key.removeprefix(f"{PROJECT}:"))
        result.problems.append(Problem(stack, shown(key), "", rule, fix, line))
    for key, value in result.config.items():
        name = key.removeprefix(f"{PROJECT}:")
        if key in secrets():
            for rule, fix in secret_faults(stack, secrets()[key], value):
                result.problems.append(Problem(stack, name, "", rule, fix, result.lines.get(name)))
        elif key.startswith(f"{PROJECT}:"):
            result.config[key], places = without_encrypted(name, value)
            result.problems += [encrypted_setting(stack, place, result.line_of(place)) for place in places]
    return result


def _unreadable(stack: str, reason: Unreadable) -> StackFile:
    name = stack_file_name(shown(stack)) if reason.name is None else shown(reason.name)
    problem = Problem(stack, name, "", reason.rule, reason.fix, reason.line)
    return StackFile(problems=[problem], readable=False)


def _document(stack: str, text: str, result: StackFile) -> Any:
    try:
        events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))
        document: Any = None
        seen = False
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    raise _UnreadableError("holds more than one document", "keep one", _line(event))
                seen = True
                document = _node(next(events), events, "", 0, stack, result)
        return document
    except yaml.MarkedYAMLError as error:
        fault = yaml_fault(text, error)
        raise _UnreadableError(fault.rule, fault.fix, fault.line) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1 if isinstance(error.position, int) else None
        what = "a NUL byte" if error.character in (0, "\0") else "a character that a text file doesn't have"
        raise _UnreadableError(f"is not YAML: it holds {what}", "remove it", line) from None
    except (yaml.YAMLError, UnicodeError, ValueError):
        raise _UnreadableError("is not YAML", "see the example stack files", None) from None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _node(event: Any, events: Iterator[Any], path: str | None, depth: int, stack: str, result: StackFile) -> Any:
    line = _line(event)
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise _UnreadableError("has an anchor or an alias (& or *)", "write the value out, or quote the text", line)
    if getattr(event, "tag", None) is not None and event.tag != "!":
        raise _UnreadableError("has a tag (!)", "remove it, or quote the text", line)
    if depth > DEPTH_LIMIT:
        raise _UnreadableError(f"has more than {DEPTH_LIMIT} levels", "write it with fewer", line)
    if isinstance(event, yaml.ScalarEvent):
        _note_misread(event, path, stack, result)
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(child := next(events), yaml.SequenceEndEvent):
            below = None if path is None else f"{path}.{len(items)}"
            if below is not None:
                result.lines.setdefault(below, _line(child))
            items.append(_node(child, events, below, depth + 1, stack, result))
        return items
    values: dict[str, Any] = {}
    while not isinstance(child := next(events), yaml.MappingEndEvent):
        at = _line(child)
        if not isinstance(child, yaml.ScalarEvent):
            raise _UnreadableError("has a key that is not a text", "see the example stack files", at)
        _node(child, iter(()), path, depth + 1, stack, result)
        key = child.value
        below = _below(path, in_our_namespace(key, result.namespace))
        if key in values:
            result.problems.append(Problem(stack, shown(below or key), "", "stands there twice", "remove one", at))
        if below is not None:
            result.lines[below] = at
        values[key] = _node(next(events), events, below, depth + 1, stack, result)
    return values


def _note_misread(event: Any, path: str | None, stack: str, result: StackFile) -> None:
    """A plain text that is something else to Pulumi, in a setting of this program that is no secret."""
    # First what is told soonest: a file may hold very many texts, and nearly all are what they seem.
    if not event.implicit[0] or not path or (found := misread(event.value)) is None:
        return
    if path in secrets() or f"{PROJECT}:{path}" in secrets():
        return
    section = path.partition(".")[0]
    if section not in sections() and not (":" in section and section.partition(":")[0] in namespaces()):
        return
    unshown = path.startswith(UNSHOWN)
    rule, fix = found if not unshown else ("is a number or a date to Pulumi, another one than it seems", "quote it")
    value = "" if unshown else shown(event.value)
    # A key may hold anything, as well.
    result.problems.append(Problem(stack, shown(path), value, rule, fix, _line(event)))


def _below(path: str | None, key: str) -> str | None:
    """``config`` and our namespace don't show in the names of settings. None where the path gets too long."""
    if path is None or len(path) + len(key) > PATH_LIMIT:
        return None
    if not path:
        return CONFIG if is_config(key) else key.removeprefix(f"{PROJECT}:")
    if path in (CONFIG, PROJECT):
        return key.removeprefix(f"{PROJECT}:")
    return f"{path}.{key}"


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
