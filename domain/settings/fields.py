"""Reads a section field by field, so that one wrong value hides no other mistake. pydantic checks single values; a
checker for a whole model would take longer to build than all checks take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from pydantic import ValidationError as PydanticError
from pydantic.fields import FieldInfo

from domain.problems import Problem, kind_of, shown
from domain.settings.draft import Encrypted
from domain.settings.forms import form_of
from domain.settings.messages import distinct, example_of, missing, problem_of, too_many, unknown
from domain.settings.section import Section
from domain.values.rule_error import without_followers
from domain.written_values import meant

REFUSED: Final = object()


def read_field(stack: str, path: str, field: FieldInfo, values: Mapping[str, Any], problems: list[Problem]) -> Any:
    """The field's typed value; the default where it is absent; ``REFUSED`` and problems where it is wrong."""
    name = path.rpartition(".")[2]
    if name not in values:
        if field.is_required():
            problems.append(missing(stack, path, field))
            return REFUSED
        # Not get_default, which copies, and looks anew at how a factory is called: nothing changes a default.
        return field.default if field.default_factory is None else cast("Callable[[], Any]", field.default_factory)()
    return read_value(stack, path, field, values[name], problems)


def read_value(stack: str, path: str, field: FieldInfo, value: Any, problems: list[Problem]) -> Any:
    """The typed value; ``REFUSED`` and problems where it is wrong."""
    if isinstance(value, Encrypted):
        return REFUSED
    form = form_of(field)
    value = meant(value, form.kind)
    if form.model is not None and isinstance(value, Mapping):
        return _read_model(stack, path, form.model, value, problems)
    if isinstance(value, list | dict) and (refused := too_many(stack, path, field, value)) is not None:
        problems.append(refused)
        return REFUSED
    item = form.item
    if item is not None and isinstance(value, list | dict) and value and isinstance(value, dict) == form.by_name:
        named = value.items() if isinstance(value, dict) else enumerate(value)
        wrong = _wrong_names(stack, path, field, value, problems) if isinstance(value, dict) else frozenset()
        entries = {
            name: _read_model(stack, f"{path}.{shown(name)}", item, entry, problems)
            if isinstance(entry, Mapping)
            else _wrong_kind(stack, f"{path}.{shown(name)}", entry, "an object", example_of(field, 1), problems)
            for name, entry in named
        }
        if not form.by_name:
            return tuple(entries.values())
        return {name: entry for name, entry in entries.items() if name not in wrong}
    try:
        return form.adapter.validate_python(value)
    except PydanticError as error:
        problems.extend(
            problem_of(stack, path, field, detail) for detail in distinct(without_followers(error.errors()))
        )
        return REFUSED
    except RecursionError:
        return _wrong_kind(stack, path, value, "as flat as it should be", "write it with fewer levels", problems)


def _wrong_names(
    stack: str, path: str, field: FieldInfo, value: Mapping[Any, Any], problems: list[Problem]
) -> frozenset[str]:
    """Those that no object may have here, with a problem for each."""
    try:
        form_of(field).names.validate_python(dict.fromkeys(value))
    except PydanticError as error:
        errors = list(distinct(without_followers(error.errors())))
        problems.extend(problem_of(stack, path, field, detail) for detail in errors)
        wrong = {detail["loc"][0] for detail in errors}
        return frozenset(name for name in value if str(name) in wrong)
    return frozenset()


def _wrong_kind(stack: str, path: str, value: object, kind: str, fix: str, problems: list[Problem]) -> Any:
    problems.append(Problem(stack, path, kind_of(value), f"is not {kind}", fix))
    return REFUSED


def _read_model(
    stack: str, path: str, model: type[Section], values: Mapping[Any, Any], problems: list[Problem]
) -> Section:
    before = len(problems)
    known_fields = model.model_fields
    for key, value in values.items():
        if key not in known_fields:
            setting = f"{path}.{shown(key)}"
            problems.append(unknown(stack, setting, str(key), value, list(known_fields), len(problems)))
    fields = {
        name: value
        for name, field in known_fields.items()
        if (value := read_field(stack, f"{path}.{name}", field, values, problems)) is not REFUSED
    }
    if len(problems) == before:
        return model.model_construct(**fields)
    built = model.model_construct()
    for name in known_fields:
        built.__dict__.pop(name, None)
    built.__dict__.update(fields)
    return built
