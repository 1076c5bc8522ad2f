"""The schema and the settings reference are what the models say, and the schema takes what the checks take."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any, get_origin

import jsonschema
import pytest

from domain.places.hetzner.model import HcloudSettings
from domain.places.registry import StackSettings, sections
from domain.schema import SCHEMA_FILE, schema_text, stack_file_schema
from domain.setting_docs import description
from domain.settings.forms import item_model_of, model_of
from domain.settings.section import Section
from domain.settings_reference import REFERENCE_FILE, settings_reference
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, SHA256, changed, data_of, text
from tests.domain.test_settings_messages import GOOD, WITH_NEIGHBOUR, configs, neighbour_changes

TOP = Path(__file__).parents[2]
STALE = "run `./isthmus schema --write`"
VALIDATOR = jsonschema.Draft7Validator(stack_file_schema(), format_checker=jsonschema.FormatChecker())


@functools.cache
def reference() -> str:
    """The page, made once."""
    return settings_reference()


def errors(config: dict[str, Any]) -> list[str]:
    """Where the schema refuses a stack file with this config."""
    return _errors(text(config))


@functools.lru_cache(maxsize=64)
def _errors(written: str) -> list[str]:
    """Of two stacks mostly one is as it was before."""
    return [".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(data_of(written))]


def test_the_schema_in_the_repository_is_current() -> None:
    assert (TOP / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(), STALE


def test_the_reference_in_the_repository_is_current() -> None:
    assert (TOP / REFERENCE_FILE).read_text(encoding="utf-8") == reference(), STALE


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(stack_file_schema())


@pytest.mark.parametrize("name", ["de", "mn"])
def test_shipped_files_name_the_schema_and_are_right_but_for_their_blanks(name: str) -> None:
    path = TOP / f"Pulumi.{name}.yaml"
    content = path.read_text(encoding="utf-8")
    named = re.match(r"# yaml-language-server: \$schema=(.*)\n", content)
    assert named is not None
    assert (path.parent / named[1]).resolve() == TOP / SCHEMA_FILE
    config = data_of(content)["config"]
    blanks = [place for place in errors(config) if "<" not in str(_at(config, place))]
    assert blanks == []
    config["isthmus:k3s"]["sha256"] = SHA256
    for setting in ("api_allowed_cidrs", "ssh_allowed_cidrs"):
        config.get("isthmus:hetzner", {})[setting] = ["203.0.113.7/32"]
    for machine in config.get("isthmus:on_premise", {}).get("machines", []):
        machine["host_key"] = HOST_KEYS[0]
        machine["address"] = "192.168.7.11"
    config["isthmus:network"]["node_cidr"] = "192.168.7.0/24"
    assert errors(config) == []


def _at(config: dict[str, Any], place: str) -> Any:
    value: Any = {"config": config}
    for part in place.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@pytest.mark.timeout(300)
def test_every_good_file_and_neighbour_passes() -> None:
    """One test for all of them: each takes a millisecond, and a test by itself three."""
    assert len(WITH_NEIGHBOUR) > 500
    assert len(GOOD) > 40
    cases = [(case["id"], case["stack"], neighbour_changes(case)) for case in WITH_NEIGHBOUR]
    cases += [(f"{number} of those that stand alone", stack, changes) for number, (stack, changes) in enumerate(GOOD)]
    refused = {
        f"{name}, {at}": found
        for name, stack, changes in cases
        for at, config in configs(stack, changes).items()
        if (found := errors(config))
    }
    assert refused == {}


@pytest.mark.parametrize(
    ("base", "changes", "place"),
    [
        (DE, {"network.pod_cdir": "10.42.0.0/16"}, "isthmus:network"),
        (DE, {"network.pod_cidr": 10}, "isthmus:network.pod_cidr"),
        (DE, {"network.pod_cidr": "10.42.0.0"}, "isthmus:network.pod_cidr"),
        (DE, {"netwerk": {}}, ""),
        (DE, {"hcloud:endpont": "https://x"}, ""),
        (DE, {"hetzner.workers.count": 11}, "isthmus:hetzner.workers.count"),
        (DE, {"clusterSecret": "in plain text"}, "isthmus:clusterSecret"),
        (DE, {"cilium": {"mtu": "1280B"}}, "isthmus:cilium.mtu"),
        (DE, {"k3s.version": "1.34"}, "isthmus:k3s.version"),
        (MN, {"on_premise.machines.0.role": "worker"}, "isthmus:on_premise.machines.0.role"),
        (MN, {"on_premise.machines.0.address": "mn-1"}, "isthmus:on_premise.machines.0.address"),
        (MN, {"hetzner": DE["isthmus:hetzner"]}, ""),
        (GIVEN, {"on_premise.kubeconfig.contxt": "mn"}, "isthmus:on_premise.kubeconfig"),
    ],
)
def test_what_an_editor_marks(base: dict[str, Any], changes: dict[str, Any], place: str) -> None:
    assert errors(copy.deepcopy(base)) == []
    assert f"config.{place}".rstrip(".") in errors(changed(base, changes))


# --- the reference ----------------------------------------------------------------------------------------------------


def all_fields() -> dict[str, tuple[type[Section], str]]:
    """Every setting by its name in the reference, with its model and field."""
    found: dict[str, tuple[type[Section], str]] = {}

    def walk(path: str, model: type[Section]) -> None:
        for name, field in model.model_fields.items():
            found[f"{path}{name}"] = (model, name)
            inner, item = model_of(field.annotation), item_model_of(field.annotation)
            if inner is not None:
                walk(f"{path}{name}.", inner)
            if item is not None:
                walk(f"{path}{name}.{'NAME' if get_origin(field.annotation) is dict else 'N'}.", item)

    for section in sections():
        model = model_of(StackSettings.model_fields[section].annotation)
        if model is not None:
            walk(f"{section}.", model)
    for name in HcloudSettings.model_fields:
        found[f"hcloud:{name}"] = (HcloudSettings, name)
    return found


@pytest.mark.parametrize("setting", sorted(all_fields()))
def test_every_setting_has_its_place_and_meaning(setting: str) -> None:
    assert f"\n### `{setting}`\n" in reference()
    model, name = all_fields()[setting]
    assert description(model, name)


@pytest.mark.parametrize("setting", sorted(all_fields()))
def test_every_default_says_why(setting: str) -> None:
    model, name = all_fields()[setting]
    field = model.model_fields[name]
    if field.is_required():
        return
    described = " ".join(description(model, name).split())
    reason = described.partition("Default: ")[2]
    assert re.match(r"[^.;,]+(\.[0-9]+)*[^;,]*(, |; |: )\S+", reason) or "the one that" in reason, described
