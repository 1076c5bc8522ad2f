"""The stack files at the top of the repository: right but for what only their user can fill in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from domain.fleet import check_files, parse_fleet
from domain.places.registry import StackSettings, secrets, sections
from domain.plan import address_plan
from domain.reading import engine_config
from domain.schema import stack_file_schema
from domain.starter import Starter, starter
from tests.domain.one_stack import parse_stack
from tests.domain.samples import HOST_KEYS, MN, SECRET, SHA256, changed

MARK = re.compile('"<([^"]*)>"')
TOP = Path(__file__).parents[2]
FILES = {name: (TOP / f"Pulumi.{name}.yaml").read_text(encoding="utf-8") for name in ("de", "mn")}


def test_what_is_left_to_fill_in() -> None:
    found = [f"{problem.stack}: {problem.setting}" for problem in check_files(FILES)]
    assert found == [
        "de: clusterSecret",
        "de: netbirdApiToken",
        "de: hcloud:token",
        "de: hetzner.api_allowed_cidrs.0",
        "de: hetzner.ssh_allowed_cidrs.0",
        "de: k3s.sha256",
        "mn: clusterSecret",
        "mn: netbirdApiToken",
        "mn: sshPrivateKey",
        "mn: network.node_cidr",
        "mn: on_premise.machines.0.address",
        "mn: on_premise.machines.0.host_key",
        "mn: on_premise.machines.1.address",
        "mn: on_premise.machines.1.host_key",
        "mn: k3s.sha256",
    ]


def filled_in(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(FILES[name])["config"]
    config["isthmus:k3s"]["sha256"] = SHA256
    config |= {"isthmus:clusterSecret": SECRET, "isthmus:netbirdApiToken": SECRET}
    if name == "de":
        for setting in ("api_allowed_cidrs", "ssh_allowed_cidrs"):
            config["isthmus:hetzner"][setting] = ["203.0.113.7/32"]
        return {**config, "hcloud:token": SECRET}
    config["isthmus:network"]["node_cidr"] = "192.168.7.0/24"
    for number, key in enumerate(HOST_KEYS):
        config["isthmus:on_premise"]["machines"][number] |= {"address": f"192.168.7.{11 + number}", "host_key": key}
    return {**config, "isthmus:sshPrivateKey": SECRET}


def test_what_is_to_be_filled_in_is_what_is_marked() -> None:
    names = {key.removeprefix("isthmus:") for key in secrets()}
    for name, content in FILES.items():
        marked = {number for number, line in enumerate(content.splitlines(), 1) if re.search(': .*"<.*>"', line)}
        left = {
            problem.line for problem in check_files(FILES) if problem.stack == name and problem.setting not in names
        }
        assert marked == left


def test_they_are_like_new_ones() -> None:
    """Same words for the same settings, so that a reader of one knows the other."""
    for name, place in (("de", "hetzner"), ("mn", "on_premise")):
        made = starter(name, place, parse_fleet({}), peers=[])
        assert isinstance(made, Starter)
        shipped = set(MARK.findall(FILES[name]))
        assert {blank.meaning for blank in made.blanks} == shipped


def test_filled_in_they_are_right() -> None:
    for name in FILES:
        parsed = parse_stack(name, filled_in(name))
        assert isinstance(parsed, StackSettings), parsed
        assert len(address_plan(parsed).nodes) == 2


def test_what_they_spell_out_is_the_default() -> None:
    """A reader takes what stands there for what one gets without it."""
    parsed = parse_stack("de", filled_in("de"))
    assert isinstance(parsed, StackSettings)
    assert parsed.cilium == StackSettings.model_fields["cilium"].default
    assert parsed.netbird == StackSettings.model_fields["netbird"].default


def test_project() -> None:
    project = yaml.safe_load((TOP / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert project["name"] == "isthmus"
    assert project["runtime"] == {"name": "python", "options": {"toolchain": "pip", "virtualenv": ".venv"}}


def test_engine_config_is_the_same_as_the_file() -> None:
    engine = {
        "isthmus:network": '{"pod_cidr":"10.52.0.0/16"}',
        "isthmus:peers": '["de"]',
        "isthmus:cilium": "no json",
        "isthmus:clusterSecret": "hunter2",
        "isthmus:kubeconfig": '{"hunter2": 1}',
        "hcloud:token": "hunter2",
        "hcloud:endpoint": "http://x",
    }
    assert engine_config(engine) == {
        "isthmus:network": {"pod_cidr": "10.52.0.0/16"},
        "isthmus:peers": ["de"],
        "isthmus:cilium": "no json",
        "isthmus:clusterSecret": "",
        "isthmus:kubeconfig": "",
        "hcloud:token": "",
        "hcloud:endpoint": "http://x",
    }


def test_secrets_may_be_named_apart() -> None:
    plain = {key: value for key, value in MN.items() if key not in secrets()}
    there = [key for key in MN if key in secrets()]
    assert isinstance(parse_stack("mn", plain, secrets=there), StackSettings)
    without = parse_stack("mn", plain, secrets=there[1:])
    assert isinstance(without, list)
    assert [problem.setting for problem in without] == ["clusterSecret"]


def test_ranges_are_checked_for_a_stack_alone() -> None:
    parsed = parse_stack("mn", changed(MN, {"network.pod_cidr": "100.64.0.0/16"}))
    assert isinstance(parsed, list)
    assert [problem.setting for problem in parsed] == ["network.pod_cidr"]


def test_every_setting_is_described() -> None:
    schema = stack_file_schema()
    for name, model in schema["definitions"].items():
        assert model["description"], name
        for field, value in model["properties"].items():
            assert value["description"], f"{name}.{field}"
    for key, value in schema["properties"]["config"]["properties"].items():
        assert "$ref" in value or value["description"], key


def test_sections() -> None:
    assert sections() == (
        "network", "peers", "hetzner", "on_premise", "k3s", "link", "cilium", "netbird", "keeper", "dns", "mirrors"
    )  # fmt: skip
