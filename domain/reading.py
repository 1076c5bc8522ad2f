"""Reads the settings of one stack from the ``config`` object of its file, or from what the engine makes of it.

It owns the meaning of that object. It doesn't read YAML (``stack_file.py``) and doesn't compare stacks (``fleet.py``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from domain.mtu import ETHERNET_MTU, largest_cilium_mtu, largest_netbird_mtu
from domain.names import PROJECT
from domain.places import registry
from domain.places.registry import StackSettings
from domain.problems import Problem, shown
from domain.settings.draft import Refused, StackDraft, known
from domain.settings.fields import REFUSED, read_field, read_value
from domain.settings.forms import places_of
from domain.settings.installed import CiliumSettings
from domain.settings.messages import THERE_ARE, UNKNOWN, unknown
from domain.values.names import stack_name
from domain.values.rule_error import RuleError


def engine_config(config: Mapping[str, str]) -> dict[str, Any]:
    """The engine's configuration (every value text, objects as JSON) in the form of a stack file. Secrets' values are
    left out: only their keys stay, with an empty value.
    """
    result: dict[str, Any] = {}
    known_secrets, names = registry.secrets(), registry.sections()
    for key, value in config.items():
        if key in known_secrets:
            result[key] = ""
        elif key.partition(":")[2] in names and key.startswith(f"{PROJECT}:"):
            try:
                result[key] = json.loads(value)
            except (ValueError, RecursionError):
                result[key] = value
        else:
            result[key] = value
    return result


def read_stack(stack: str, config: Mapping[str, Any], *, secrets: Collection[str] | None = None) -> StackDraft:
    """Every section and field on its own; what fits between them is checked by ``consistency.py``."""
    problems: list[Problem] = []
    model, known_secrets, names = registry.stack_model(), registry.secrets(), registry.sections()
    providers = {provider.namespace: provider.model.model_fields for provider in registry.providers()}
    found = frozenset(key for key in config if key in known_secrets) if secrets is None else frozenset(secrets)
    sections: dict[str, Any] = {"stack": stack}
    try:
        stack_name(stack)
    except RuleError as broken:
        problems.append(Problem(stack, "stack", shown(stack), broken.rule, broken.fix or "write it like de"))
    for key, value in config.items():
        namespace, _, name = key.partition(":")
        if key in known_secrets:
            continue
        if namespace == PROJECT and name in names:
            sections[name] = value
        elif name in providers.get(namespace, ()):
            # Pulumi hands every plain value on as a text.
            plain = json.dumps(value) if isinstance(value, bool | int | float) else value
            sections.setdefault(namespace, {})[name] = plain
        elif namespace == PROJECT or namespace in providers:
            candidates = [secret.partition(":")[2] for secret in known_secrets if secret.startswith(f"{namespace}:")]
            candidates += names if namespace == PROJECT else providers[namespace]
            setting = shown(name if namespace == PROJECT else key)
            problems.append(unknown(stack, setting, name, value, candidates, len(problems)))
    values = {
        name: value
        for name, field in model.model_fields.items()
        if name != "stack" and (value := read_field(stack, name, field, sections, problems)) is not REFUSED
    }
    for name in (*registry.place_sections(), "k3s"):
        # Refused and absent are different: a refused section must not be reported as missing a second time.
        if name in sections and name not in values:
            values[name] = Refused()
    computed = _compute_mtus(values, sections)
    _take_tunnel_port(stack, values, sections, problems)
    settings = model.model_construct(stack=stack, **values)
    for name in model.model_fields:
        if name != "stack" and name not in values:
            settings.__dict__.pop(name, None)
    named = tuple(replace(_with_its_place(problem), setting=_as_in_file(problem.setting)) for problem in problems)
    return StackDraft(stack=stack, settings=settings, problems=named, secrets=found, computed_cilium_mtu=computed)


def _compute_mtus(values: dict[str, Any], sections: Mapping[str, Any]) -> int | None:
    """Where ``netbird.underlay_mtu`` is given, the MTUs that are not are the largest that fit. Returns that of Cilium
    if it was computed.
    """

    def given(section: str) -> bool:
        return isinstance(sections.get(section), Mapping) and "mtu" in sections[section]

    netbird, cilium = values.get("netbird"), values.get("cilium")
    if (underlay := known(netbird, "underlay_mtu")) is None or netbird is None:
        return None
    if not given("netbird"):
        netbird = netbird.model_copy(update={"mtu": largest_netbird_mtu(underlay)})
        values["netbird"] = netbird
    if cilium is not None and not given("cilium") and (mtu := known(netbird, "mtu")) is not None:
        networks = [place.node_network for place in registry.PLACES if place.section in sections]
        computed = largest_cilium_mtu(
            mtu, min((network.mtu for network in networks if network is not None), default=ETHERNET_MTU)
        )
        values["cilium"] = cilium.model_copy(update={"mtu": computed})
        return computed
    return None


def _take_tunnel_port(stack: str, values: dict[str, Any], sections: Mapping[str, Any], problems: list[Problem]) -> None:
    """Where the port of the tunnel is no setting of ours, it may be one of the chart's."""
    cilium, given = values.get("cilium"), sections.get("cilium")
    further = known(cilium, "values")
    if (isinstance(given, Mapping) and "tunnel_port" in given) or not isinstance(further, Mapping):
        return
    if "tunnelPort" in further and isinstance(cilium, CiliumSettings):
        field = CiliumSettings.model_fields["tunnel_port"]
        port = read_value(stack, "cilium.values.tunnelPort", field, further["tunnelPort"], problems)
        values["cilium"] = cilium.model_copy(update={} if port is REFUSED else {"tunnel_port": port})
        if port is REFUSED:
            values["cilium"].__dict__.pop("tunnel_port", None)


def _with_its_place(problem: Problem) -> Problem:
    """An unknown setting that is one elsewhere is sent there."""
    if problem.rule != UNKNOWN or not problem.fix.startswith(THERE_ARE):
        return problem
    places = places_of(registry.stack_model()).get(problem.setting.rpartition(".")[2], ())
    return replace(problem, fix=f"write it as {' or '.join(map(_as_in_file, places))}") if places else problem


def _as_in_file(setting: str) -> str:
    """The settings of providers stand with their namespace in the file, ours without."""
    namespace, _, name = setting.partition(".")
    return (
        f"{namespace}:{name}" if any(namespace == provider.namespace for provider in registry.providers()) else setting
    )


def whole(draft: StackDraft) -> StackSettings:
    """The settings of a draft that has no problems. Raises ValueError for one in which something is missing."""
    settings = draft.settings
    if not isinstance(settings, StackSettings) or {*type(settings).model_fields} - {*vars(settings)}:
        raise ValueError(f"{draft.stack}: the settings have a gap")
    return settings
