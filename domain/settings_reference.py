"""``docs/settings.md``: every setting with its kind, default, unit, meaning and rules, made from the models.

It owns the form of the page. What it says stands in the models, in the rules, and in their docstrings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from domain.cilium_rules import AGENT_OPTIONS, KEPT, KEPT_ON_OUR_NODES
from domain.cilium_values import PAST_THE_CHART, fixed_values
from domain.consistency import stack_rules
from domain.fleet import FLEET_RULES
from domain.names import PROJECT
from domain.netbird import FORBIDDEN_ENVIRONMENT
from domain.node_files import FORBIDDEN_K3S_ARGUMENTS, FORBIDDEN_K3S_SETTINGS
from domain.overlay import NETBIRD_RANGE
from domain.places.registry import providers, secrets, sections, stack_model
from domain.schema import SCHEMA_FILE, plain
from domain.setting_docs import description
from domain.settings.forms import item_model_of, model_of
from domain.settings.section import UNITS, Section
from domain.settings.stack import CommonSettings

REFERENCE_FILE: Final = "docs/settings.md"

_KINDS: Final = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "array": "list",
    "object": "object",
}


def settings_reference() -> str:
    """The page."""
    parts = [_HEAD]
    for name in sections():
        parts += _section(f"{PROJECT}:{name}", name, stack_model().model_fields[name])
    for provider in providers():
        parts.append(f"\n## {provider.title}\n")
        parts.append(f"\n{plain(provider.model.__doc__ or '')}\n")
        parts += [_field(f"{provider.namespace}:", provider.model, name) for name in provider.model.model_fields]
    parts += _secrets()
    parts += [*_rules(), *_refused()]
    return "".join(parts)


_HEAD: Final = f"""\
# Settings

Made from the models in `domain/settings/` by `./isthmus schema --write`; a test keeps it current. The same models
give [the JSON Schema of a stack file](stack-file.schema.json), which editors read by a comment in each stack file:
`# yaml-language-server: $schema={SCHEMA_FILE}`.

A stack file `Pulumi.NAME.yaml` is one cluster. Its settings stand under `config`, each section under its key. Unknown
names are refused. `./isthmus plan` checks all stack files together, as `pulumi preview` and `pulumi up` do.
"""


def _section(key: str, path: str, field: FieldInfo) -> Iterator[str]:
    yield f"\n## `{key}`\n"
    model = model_of(field.annotation)
    if model is None:
        yield _body(CommonSettings, path, field)
        return
    need = "" if field.is_required() else " May be left out."
    said = plain(f"{model.__doc__ or ''} {description(CommonSettings, path)}")
    yield f"\n{said}{need}\n"
    yield from _model(path, model)


def _model(path: str, model: type[Section]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield _field(f"{path}.", model, name)
        inner, item = model_of(field.annotation), item_model_of(field.annotation)
        if inner is not None:
            yield from _model(f"{path}.{name}", inner)
        elif item is not None:
            yield from _model(f"{path}.{name}.{'NAME' if get_origin(field.annotation) is dict else 'N'}", item)


def _field(prefix: str, model: type[BaseModel], name: str) -> str:
    return f"\n### `{prefix}{name}`\n" + _body(model, name, model.model_fields[name])


def _body(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    schema = model.model_json_schema()["properties"][name]
    facts = [_kind(schema, field)]
    if (unit := _unit(name)) is not None:
        facts.append(f"in {unit}")
    facts.append("required" if field.is_required() else _default(field))
    lines = [f"\n{', '.join(facts)}."]
    if text := description(model, name):
        lines.append(f"\n\n{plain(text)}")
    if field.examples:
        lines.append(f"\n\nExample: `{name}: {_as_yaml(field.examples[0])}`")
    if rules := list(dict.fromkeys(_rule_texts(field))):
        lines.append("\n\nRules:\n" + "".join(f"\n- {plain(rule)}" for rule in rules))
    return "".join(lines) + "\n"


def _kind(schema: dict[str, Any], field: FieldInfo) -> str:
    inner = model_of(field.annotation)
    if inner is not None:
        return "Object, see below"
    if item_model_of(field.annotation) is not None:
        if "maxProperties" in schema:
            return f"At most {schema['maxProperties']} objects, each by its name, see below"
        return f"List of at most {schema['maxItems']} objects, see below"
    form = next((part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"), schema)
    if "enum" in form:
        return "One of " + ", ".join(f"`{value}`" for value in form["enum"])
    kinds = form.get("type", "object")
    if isinstance(kinds, list):
        text = " or ".join(_KINDS[kind] for kind in kinds)
    elif kinds == "array":
        text = f"list of {_KINDS[form['items'].get('type', 'object')]}s"
    else:
        text = _KINDS[kinds]
    if form.get("pattern") == _CIDR_PATTERN or form.get("items", {}).get("pattern") == _CIDR_PATTERN:
        text = "IPv4 network" if kinds == "string" else "list of IPv4 networks"
    if form.get("format") == "ipv4":
        text = "IPv4 address"
    if (limit := form.get("maxItems", form.get("maxProperties"))) is not None:
        text += f", at most {limit} entries"
    if "minimum" in form and "maximum" in form:
        text += f" from {form['minimum']} to {form['maximum']}"
    return text[:1].upper() + text[1:]


_CIDR_PATTERN: Final = r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$"


def _unit(name: str) -> str | None:
    return "seconds" if name.endswith("_seconds") else UNITS.get(name)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value == () or value == {}:
        return "may be left out"
    return f"default `{_as_yaml(value)}`"


def _as_yaml(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rule_texts(field: FieldInfo) -> Iterator[str]:
    for validator in _validators([*field.metadata, field.annotation]):
        text = validator.func.__doc__
        if text:
            yield text


def _validators(parts: list[Any]) -> Iterator[AfterValidator | BeforeValidator]:
    for part in parts:
        if isinstance(part, AfterValidator | BeforeValidator):
            yield part
        else:
            yield from _validators([*getattr(part, "__metadata__", ()), *get_args(part)])


def _secrets() -> Iterator[str]:
    yield "\n## Secrets\n\nThey stand in the file encrypted, and are set by command. No message shows one.\n\n"
    yield "| secret | what for | command |\n|---|---|---|\n"
    for secret in secrets().values():
        command = secret.command.format(stack="NAME").replace("|", "\\|")
        yield f"| `{secret.key}` | {secret.purpose} | `{command}` |\n"


def _rules() -> Iterator[str]:
    yield "\n## What has to fit together\n\nWithin a stack:\n\n"
    for rule in stack_rules():
        yield f"- {plain(rule.__doc__ or '')}\n"
    yield "\nOver all stack files:\n\n"
    yield (
        f"- No range touches NetBird's {NETBIRD_RANGE}. No two ranges of a cluster overlap, nor those of linked "
        "clusters, nor the pods and services of two peers of one cluster. Two sites may have the same LAN, since a "
        "link carries packets of pods alone, and clusters that never meet may have the same ranges. A message "
        "proposes a free range for the side that can move.\n"
    )
    for fleet_rule in FLEET_RULES:
        yield f"- {plain(fleet_rule.__doc__ or '')}\n"


def _refused() -> Iterator[str]:
    yield "\n## What is refused, and why\n\n### In `cilium.values`\n\n| value | must be | because |\n|---|---|---|\n"
    for clash in fixed_values():
        yield f"| `{clash.path}` | `{_as_yaml(clash.needed)}` | {clash.reason} |\n"
    for path, (allowed, reason) in sorted({**KEPT, **KEPT_ON_OUR_NODES}.items()):
        must = " or ".join(f"`{_as_yaml(choice)}`" for choice in allowed if choice != "") or "left out"
        where = ", on nodes of this program" if path in KEPT_ON_OUR_NODES else ""
        yield f"| `{path}` | {must} | {reason}{where} |\n"
    past = ", ".join(f"`{path}`" for path in PAST_THE_CHART)
    yield f"\nThe same holds for {past}: what would change one of these values past the chart is refused.\n"
    for where, reasons in (
        ("`k3s.server_config` and `k3s.agent_config`", FORBIDDEN_K3S_SETTINGS),
        *((f"`{name}` of these", arguments) for name, arguments in FORBIDDEN_K3S_ARGUMENTS.items()),
        (f"{past}, as options of agent and operator", AGENT_OPTIONS),
        ("`netbird.agent_env`", FORBIDDEN_ENVIRONMENT),
    ):
        yield f"\n### In {where}\n\n| name | because |\n|---|---|\n"
        for name, reason in reasons.items():
            yield f"| `{name}` | {reason} |\n"
