"""The JSON Schema of a stack file, for editors, made from the models of ``domain/settings/``.

It says less than the checks: forms, kinds and names, not what has to fit together. Draft 7, which every editor knows.
"""

from __future__ import annotations

import json
from typing import Any, Final

import yaml
from pydantic import BaseModel

from domain.names import PROJECT
from domain.places.registry import place_sections, providers, secrets, sections, stack_model
from domain.setting_docs import description
from domain.settings.forms import models_in
from domain.settings.stack import CommonSettings

SCHEMA_FILE: Final = "docs/stack-file.schema.json"
"""Where it lies in the repository; every stack file names it in a comment."""
DRAFT: Final = "http://json-schema.org/draft-07/schema#"

_ENGINE: Final = {
    "secretsprovider": "Pulumi: what encrypts the secrets.",
    "encryptedkey": "Pulumi: the encrypted key of the secrets.",
    "encryptionsalt": "Pulumi: the salt of the passphrase.",
}


def stack_file_schema() -> dict[str, Any]:
    """The schema as plain data."""
    by_name = {model.__name__: model for model in models_in(stack_model())}
    models = stack_model().model_json_schema(ref_template="#/definitions/{model}")
    for name, model in models["$defs"].items():
        _describe(by_name[name], model)
    provider_models = {provider.model.__name__: provider for provider in providers()}
    definitions = {name: _tidy(model) for name, model in sorted(models["$defs"].items()) if name not in provider_models}
    fields = _describe(CommonSettings, models)["properties"]
    config: dict[str, Any] = {f"{PROJECT}:{name}": _section(name, _tidy(fields[name])) for name in sections()}
    secret = {
        "type": "object",
        "properties": {"secure": {"type": "string", "minLength": 1}},
        "required": ["secure"],
        "additionalProperties": False,
    }
    for item in secrets().values():
        config[item.key] = {"description": f"Secret: {item.purpose}. Set it by `pulumi config set --secret`.", **secret}
    for provider_name, provider in provider_models.items():
        properties = models["$defs"][provider_name]["properties"]
        for name in provider.model.model_fields:
            config[f"{provider.namespace}:{name}"] = _tidy(properties[name])
    namespaces = "|".join(f"{namespace}:" for namespace in (PROJECT, *(provider.namespace for provider in providers())))
    return {
        "$schema": DRAFT,
        "title": "Stack file of Isthmus",
        "description": "One stack, which is one cluster.",
        "type": "object",
        "properties": {
            **{name: {"type": "string", "description": meaning} for name, meaning in _ENGINE.items()},
            "config": {
                "type": "object",
                "properties": config,
                "required": [f"{PROJECT}:network"],
                "oneOf": [{"required": [f"{PROJECT}:{name}"]} for name in place_sections()],
                "additionalProperties": False,
                "patternProperties": {f"^(?!{namespaces})[^:]+:": {}},
            },
        },
        "required": ["config"],
        "definitions": definitions,
    }


def schema_text() -> str:
    """The file's content."""
    return json.dumps(stack_file_schema(), indent=2, ensure_ascii=False) + "\n"


def _describe(model: type[BaseModel], schema: dict[str, Any]) -> dict[str, Any]:
    """Gives every property the docstring of its field."""
    for name, described in schema["properties"].items():
        if text := description(model, name):
            described["description"] = text
    return schema


def _section(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Draft 7 knows nothing beside a $ref, and an absent section is left out rather than null."""
    for part in [schema, *schema.get("anyOf", []), *schema.get("allOf", [])]:
        if "$ref" in part:
            return {"$ref": part["$ref"]}
    return schema


_AS_TEXT: Final = {
    "integer": "^-?(0|[1-9][0-9]*)$",
    "boolean": "^(true|false)$",
    "array": r"^\s*\[",
    "object": r"^\s*\{",
}
"""What a text has to look like that stands for a value of another kind."""
_TEXTS: Final = {"type": ["string", "integer", "boolean"]}
"""Values of an object of texts: Pulumi's commands write a text like 4 or true as what it looks like."""


def _tidy(schema: Any) -> Any:
    """Without pydantic's titles, with descriptions as editors show them and examples of the right kind."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties":
            result[name] = {key: _tidy(part) for key, part in value.items()}
        elif name == "description":
            result[name] = plain(value)
        elif name == "examples":
            result[name] = [
                yaml.safe_load(example) if _is_text_of_other_kind(schema, example) else example for example in value
            ]
        elif name == "title" or (name == "default" and value is None):
            continue
        elif name == "additionalProperties" and value == {"type": "string"}:
            result[name] = _TEXTS
        elif name == "patternProperties":
            result[name] = {key: _TEXTS if part == {"type": "string"} else _tidy(part) for key, part in value.items()}
        else:
            result[name] = _tidy(value)
    if (text := _AS_TEXT.get(str(result.get("type")))) is not None and "pattern" not in result:
        # Pulumi's commands write what is no text as one, too.
        result |= {"type": [result["type"], "string"], "pattern": text}
    if "$ref" in result and len(result) > 1:
        # In draft 7 everything beside a $ref is ignored.
        result = {"allOf": [{"$ref": result.pop("$ref")}], **result}
    return result


def _is_text_of_other_kind(schema: dict[str, Any], example: object) -> bool:
    kinds = [schema.get("type"), *(alternative.get("type") for alternative in schema.get("anyOf", []))]
    return isinstance(example, str) and "string" not in kinds and not isinstance(kinds[0], list)


def plain(text: str) -> str:
    """A docstring as one line of Markdown."""
    return " ".join(text.split()).replace("``", "`")
