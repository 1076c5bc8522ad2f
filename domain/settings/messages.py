"""What is said of a value that is not what its model wants: pydantic's errors as problems, with examples."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from typing import Any, Final, get_args, get_origin

from pydantic.fields import FieldInfo
from yaml import safe_load

from domain.problems import HIDDEN, PROBLEMS_LIMIT, Problem, kind_of, shown
from domain.secret_texts import holds_secret, names_secret
from domain.settings.forms import model_of
from domain.settings.section import Section
from domain.values.rule_error import cause_of


def guess(name: str, candidates: Collection[str], found: int) -> str:
    """What is meant, perhaps. ``found``: how many problems there are already; with many, nobody reads the guess, which
    takes its time.
    """
    plain = name[:60].lower().replace("-", "").replace("_", "")
    near = [candidate for candidate in candidates if candidate.lower().replace("_", "") == plain]
    if not near and found <= PROBLEMS_LIMIT:
        near = [candidate for candidate in candidates if name in candidate.split("_")]
    if len(near) != 1 and found <= PROBLEMS_LIMIT:
        near = difflib.get_close_matches(name[:60], candidates, n=1, cutoff=0.65)
    return f"did you mean {near[0]}?" if near else f"{THERE_ARE}{', '.join(sorted(candidates))}"


THERE_ARE: Final = "there are: "
UNKNOWN: Final = "is not a setting of this program"


def unknown(stack: str, setting: str, name: str, value: object, candidates: Collection[str], found: int) -> Problem:
    """Of a key that no setting has; ``found`` as of :func:`guess`. Who looks for the place of a token tries some."""
    if isinstance(value, str) and (holds_secret(value) or (names_secret(f".{name}") and not _PATH.match(value))):
        near = guess(name, candidates, found)
        first = "remove it, and" if near.startswith(THERE_ARE) else near
        fix = f"{first} make a new one, since this one has been in the file"
        return Problem(stack, setting, "", f"{UNKNOWN}, and holds a secret in plain text", fix)
    return Problem(stack, setting, "", UNKNOWN, guess(name, candidates, found))


_PATH: Final = re.compile(r"[~./$]|[A-Za-z]:\\|$")
"""How the name of a file begins, or nothing."""
_FEWER: Final = {
    "machines": "make more clusters of them",
    "api_allowed_cidrs": "join them to larger ranges",
    "ssh_allowed_cidrs": "join them to larger ranges",
}


def too_many(stack: str, path: str, field: FieldInfo, value: list[Any] | dict[Any, Any]) -> Problem | None:
    """Looked at before any entry is, since every wrong one would have its own message."""
    if not isinstance(value, list if get_origin(field.annotation) is tuple else dict):
        return None
    limit = next((entry.max_length for entry in field.metadata if hasattr(entry, "max_length")), None)
    if limit is None or len(value) <= limit:
        return None
    rule = f"has {len(value)} entries; at most {limit} are possible"
    fix = "link with fewer" if path == "peers" else _FEWER.get(path.rpartition(".")[2], "write fewer")
    return Problem(stack, path, "", rule, fix)


def distinct(errors: list[Any]) -> Iterator[Any]:
    """Without the repetitions that the members of a union give: the first error of each place."""
    seen: set[tuple[str, ...]] = set()
    for error in errors:
        place = tuple(str(part) for part in error["loc"] if not str(part).startswith(("function-", "none", "literal")))
        if place not in seen:
            seen.add(place)
            yield {**error, "loc": place}


_TYPE_RULES: Final = {
    "string_type": "is not text",
    "int_type": "is not a whole number",
    "tuple_type": "is not a list",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
}
UNSHOWN: Final = ("netbird.agent_env", "k3s.server_config", "k3s.agent_config")
"""Settings whose values no message shows, since somebody may have put a secret there."""
_OBJECTS: Final = ("dict_type", "model_type", "model_attributes_type")


def problem_of(stack: str, path: str, field: FieldInfo, error: Any) -> Problem:
    """One of pydantic's errors in our words."""
    cause = cause_of(error)
    place = [
        HIDDEN if path in UNSHOWN and "=" in str(part) else shown(part) for part in error["loc"] if part != "[key]"
    ]
    if "[key]" in error["loc"] and cause is not None and cause.hide_value:
        place[-1] = HIDDEN
    setting = ".".join([path, *place])
    # A text where an object should be may be anything: a whole kubeconfig, for example.
    unshown = path in UNSHOWN or error["type"] in _OBJECTS
    value = "" if "[key]" in error["loc"] else (kind_of if unshown else shown)(error["input"])
    if isinstance(error["input"], str) and error["type"] in ("int_type", "bool_type"):
        value = f'"{value}"'
    example = example_of(field, len(place), of_name="[key]" in error["loc"])
    public = cause is not None and cause.public
    if isinstance(error["input"], str) and holds_secret(error["input"]) and not unshown and not public:
        rule = "has the form of a key or token, which stands here in plain text"
        return Problem(stack, setting, "", rule, f"make a new one, since this one has been in the file, and {example}")
    if cause is not None:
        return Problem(stack, setting, "" if cause.hide_value else value, cause.rule, cause.fix or example)
    context = error.get("ctx", {})
    match error["type"]:
        case "bool_type":
            return Problem(stack, setting, value, "is neither true nor false", "write true or false")
        case kind if kind in _TYPE_RULES:
            return Problem(stack, setting, value, _TYPE_RULES[kind], example)
        case "greater_than_equal":
            return Problem(stack, setting, value, f"is less than {context['ge']}", _bounds(field) or example)
        case "less_than_equal":
            return Problem(stack, setting, value, f"is more than {context['le']}", _bounds(field) or example)
        case "literal_error":
            return Problem(stack, setting, value, "is not one of the possible values", f"take {context['expected']}")
        case "too_short":
            return Problem(stack, setting, "", "is empty; at least one entry is needed", example)
        case "string_too_short":
            return Problem(stack, setting, "", "is empty", example)
        case "string_too_long":
            return Problem(stack, setting, "", f"has more than {context['max_length']} characters", example)
        case "string_pattern_mismatch":
            return Problem(stack, setting, value, "has not the right form", example)
        case _:
            return Problem(stack, setting, value, "is not a possible value", example)


def missing(stack: str, path: str, field: FieldInfo) -> Problem:
    """Of a setting that has to be there."""
    return Problem(stack, path, "", "is missing", example_of(field))


def example_of(field: FieldInfo, depth: int = 0, *, of_name: bool = False) -> str:
    """The example of the setting, or that many levels within it the one of an entry, or of an entry's name."""
    if not field.examples:
        return _of_one_setting(model_of(field.annotation)) or "see the example stack files"
    example = str(field.examples[0])
    if depth:
        value = safe_load(example)
        for level in range(depth, 0, -1):
            if isinstance(value, dict):
                value = next(iter(value if of_name and level == 1 else value.values()))
            elif isinstance(value, list):
                value = value[0]
        example = _flow(value)
    return f"write it like {example}"


def _of_one_setting(model: type[Section] | None) -> str | None:
    """A section with one setting, where none has to be there: the shipped stack files may not have the section."""
    fields = {} if model is None else model.model_fields
    examples = [f"{name}: {_flow(field.examples[0])}" for name, field in fields.items() if field.examples]
    if not examples or any(field.is_required() for field in fields.values()):
        return None
    return f"write it like {{{examples[0]}}}"


def _flow(value: object) -> str:
    """Of the kinds that examples have, as YAML in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_flow(entry)}' for name, entry in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(field: FieldInfo) -> str | None:
    entries = list(_constraints([*field.metadata, field.annotation]))
    low = next((entry.ge for entry in entries if hasattr(entry, "ge")), None)
    high = next((entry.le for entry in entries if hasattr(entry, "le")), None)
    return None if low is None or high is None else f"take {low} to {high}"


def _constraints(parts: Collection[Any]) -> Iterator[Any]:
    """What is annotated on the field and on what it is made of, for example on the number of ``int | None``."""
    for part in parts:
        if isinstance(part, FieldInfo):
            yield from part.metadata
        elif metadata := getattr(part, "__metadata__", ()):
            yield from _constraints([*metadata, *get_args(part)])
        elif args := get_args(part):
            yield from _constraints(args)
        else:
            yield part
