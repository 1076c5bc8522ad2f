"""What the values of a field have to be, found out from its model."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from domain.settings.section import Section
from domain.written_values import Kind


class Form:
    """What the values of a field have to be, found out once for all stack files."""

    def __init__(self, field: FieldInfo) -> None:
        self.model = model_of(field.annotation)
        self.item = item_model_of(field.annotation)
        self.by_name = get_origin(field.annotation) is dict
        self._field = field

    @functools.cached_property
    def kind(self) -> Kind | None:
        """What a value that Pulumi's commands wrote may have to be made."""
        return "object" if self.model is not None else _kind_of(self._field.annotation)

    @functools.cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """The check of a value, as pydantic makes it."""
        annotation: Any = self._field.annotation
        if self._field.metadata:
            annotation = Annotated[(annotation, *self._field.metadata)]
        return TypeAdapter(annotation)

    @functools.cached_property
    def names(self) -> TypeAdapter[Any]:
        """Of objects by name, the check of the names alone."""
        objects: Any = dict[get_args(self._field.annotation)[0], Any]  # type: ignore[misc]  # a type made here
        return TypeAdapter(objects)


@functools.cache
def _forms() -> dict[int, Form]:
    return {}


def form_of(field: FieldInfo) -> Form:
    """The field's form. The fields live as long as their models, so their ids tell them apart."""
    forms = _forms()
    if (form := forms.get(id(field))) is None:
        form = forms[id(field)] = Form(field)
    return form


def _kind_of(annotation: Any) -> Kind | None:
    """By the type behind ``Annotated[...]``, ``... | None`` and aliases of it."""
    if annotation in (int, bool):
        return "int" if annotation is int else "bool"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind_of(inner[0])
    if origin in (tuple, dict):
        texts = origin is dict and get_args(inner[1])[:1] == (str,)
        return "list" if origin is tuple else ("texts" if texts else "object")
    return next(
        (kind for argument in inner if origin is not Literal and (kind := _kind_of(argument)) is not None), None
    )


def model_of(annotation: Any) -> type[Section] | None:
    """The model behind ``Model`` or ``Model | None``."""
    for alternative in (annotation, *get_args(annotation)):
        if isinstance(alternative, type) and issubclass(alternative, Section):
            return alternative if get_origin(annotation) not in (tuple, dict) else None
    return None


def item_model_of(annotation: Any) -> type[Section] | None:
    """The model behind ``tuple[Model, ...]`` or ``dict[Name, Model]``."""
    if get_origin(annotation) in (tuple, dict):
        item = get_args(annotation)[0 if get_origin(annotation) is tuple else 1]
        if isinstance(item, type) and issubclass(item, Section):
            return item
    return None


def models_in(model: type[Section]) -> Iterator[type[Section]]:
    """The model and all that stand within it."""
    yield model
    for field in model.model_fields.values():
        inner = model_of(field.annotation) or item_model_of(field.annotation)
        if inner is not None:
            yield from models_in(inner)


@functools.cache
def places_of(model: type[Section]) -> dict[str, tuple[str, ...]]:
    """Each setting below the model's sections by its own name, with the paths that end in it."""
    found: dict[str, list[str]] = {}

    def walk(inner: type[Section], path: str) -> None:
        for name, field in inner.model_fields.items():
            below = f"{path}.{name}" if path else name
            if path:
                found.setdefault(name, []).append(below)
            if (section := model_of(field.annotation)) is not None:
                walk(section, below)

    walk(model, "")
    return {name: tuple(paths) for name, paths in found.items()}
