"""Places: a fourth one, registered for a test, is read, checked, planned and guarded like the three that there are, and
nothing but its own module knows the name of one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, StrictStr

from domain.changes import changes_refused, raised_with
from domain.fleet import check_files, parse_fleet
from domain.mtu import largest_cilium_mtu
from domain.nodes import Node
from domain.places import registry
from domain.places.outputs import RAISED_WITH
from domain.places.place import NodeNetwork, Place
from domain.plan import address_plan
from domain.plan_report import fleet_report
from domain.problems import Problem
from domain.schema import stack_file_schema
from domain.settings.draft import StackDraft, known
from domain.settings.secrets import Secret
from domain.settings.section import Section
from domain.settings.stack import CommonSettings
from domain.settings_reference import settings_reference
from domain.values.addresses import HostAddress
from tests.domain.samples import DE, MN, REMOVE, SECRET, changed, said, settings_of, text
from tests.parsing import parsed

DOMAIN = Path(__file__).parents[2] / "domain"


class BarnSettings(Section):
    """Machines in a barn."""

    hosts: tuple[HostAddress, ...] = Field(max_length=9, examples=["[192.168.9.11]"])
    """Their addresses; the first runs the API, the last carries the link."""
    farm: StrictStr = Field(examples=["north"])
    """Whose barn it is."""


def barn_nodes(settings: CommonSettings, section: BarnSettings) -> tuple[Node, ...]:
    last = len(section.hosts) - 1
    return tuple(
        Node(f"{settings.stack}-{index}", "agent" if index else "server", index == last, address)
        for index, address in enumerate(section.hosts)
    )


def north_is_full(draft: StackDraft) -> Iterator[Problem]:
    """No barn of the farm north."""
    if known(draft.settings, "barn", "farm") == "north":
        yield Problem(draft.stack, "barn.farm", "north", "has no room", "take another farm")


BARN = Place(
    name="barn",
    section="barn",
    model=BarnSettings,
    chosen=lambda settings: known(settings, "barn") is not None,
    nodes=barn_nodes,
    node_count=lambda settings: len(known(settings, "barn", "hosts") or ()) or None,
    said=lambda section: f"barn of {section.farm}",
    rules=(north_is_full,),
    lan=True,
    node_network=NodeNetwork(1400, "barns"),
    secrets=(Secret("isthmus:barnKey", "the barn is opened with it", "pulumi config set --secret barnKey -s {stack}"),),
    fixed=lambda section: {"barn_farm": section.farm},
    fixed_because={"barn_farm": ("barn.farm", "machines do not walk")},
)

FARM: dict[str, Any] = {
    **changed(MN, {"on_premise": REMOVE, "sshPrivateKey": REMOVE, "network.node_cidr": "192.168.9.0/24"}),
    "isthmus:barn": {"hosts": ["192.168.9.11", "192.168.9.12"], "farm": "south"},
    "isthmus:barnKey": SECRET,
}


@pytest.fixture(autouse=True)
def a_fourth_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PLACES", (*registry.PLACES, BARN))


def check(changes: dict[str, Any]) -> list[str]:
    return said(check_files({"de": text(DE), "mn": text(changed(FARM, changes))}))


def test_its_stack_file_is_right_and_planned() -> None:
    files = {"de": text(DE), "mn": text(FARM)}
    assert check_files(files) == []
    report = fleet_report(parse_fleet(files).stacks)
    barn = next(cluster for cluster in report.clusters if cluster.name == "mn")
    assert barn.place == "barn of south"
    assert [(node.name, node.role, node.router) for node in barn.plan.nodes] == [
        ("mn-0", "server", False),
        ("mn-1", "agent", True),
    ]
    assert barn.as_json()["hetzner_network"] is None
    assert [(link.source, link.target) for link in report.links] == [("de", "mn"), ("mn", "de")]


def test_what_is_wrong_with_it_is_said() -> None:
    assert sorted(check({"barn.farm": "north", "barn.hosts": ["192.168.9"], "barnKey": REMOVE})) == [
        "mn: barn.farm north has no room; take another farm.",
        "mn: barn.hosts.0 192.168.9 is not an IPv4 address; write it like 192.168.9.11.",
        "mn: barnKey is missing; the barn is opened with it; set it: `pulumi config set --secret barnKey -s mn`.",
    ]


def test_it_stands_beside_no_other_place() -> None:
    beside = "mn: barn stands beside on_premise; a stack is one cluster in one place; remove one."
    assert beside in check({"on_premise": MN["isthmus:on_premise"]})
    assert check({"barn": REMOVE, "barnKey": REMOVE}) == [
        "mn: hetzner is missing, and so are on_premise, barn; exactly one of them is needed; add one."
    ]


def test_its_network_bounds_the_mtu() -> None:
    settings = settings_of("mn", FARM, {"netbird.underlay_mtu": 9000})
    assert settings.cilium.mtu == largest_cilium_mtu(settings.netbird.mtu, 1400) == 1400
    too_much = "mn: cilium.mtu 1401 is more than 1400, the MTU of barns; take at most 1400."
    assert too_much in check({"cilium.mtu": 1401, "netbird.mtu": 1440})
    assert too_much not in check({"cilium.mtu": 1400, "netbird.mtu": 1440})


def test_what_runs_there_stays_as_it_was_raised() -> None:
    raised = settings_of("mn", FARM)
    outputs = {RAISED_WITH: raised_with(raised), "node_ips": {node.name: "" for node in address_plan(raised).nodes}}
    assert changes_refused(outputs, raised) == []
    other = changes_refused(outputs, settings_of("mn", FARM, {"barn.farm": "west"}))
    assert [problem.setting for problem in other] == ["barn.farm"]
    assert other[0].rule == "is not south, with which the cluster runs; machines do not walk"
    (moved,) = changes_refused(outputs, settings_of("mn", MN))
    assert (moved.setting, moved.rule) == (
        "on_premise",
        "stands in the place of barn, where the cluster runs; a cluster does not move",
    )


def test_editors_and_the_reference_know_it() -> None:
    schema = stack_file_schema()
    assert "BarnSettings" in schema["definitions"]
    assert {"required": ["isthmus:barn"]} in schema["properties"]["config"]["oneOf"]
    assert "isthmus:barnKey" in schema["properties"]["config"]["properties"]
    page = settings_reference()
    assert "\n## `isthmus:barn`\n\nMachines in a barn." in page
    assert "- No barn of the farm north.\n" in page


KNOW_HETZNER = {
    "places/registry.py": "the list of all places",
    "cloud_init.py": "the user data of its servers, over what is on every node",
}


def _said_outside_of_docstrings(source: str) -> Iterator[str]:
    tree = parsed(source)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (str(node.module), *(alias.name for alias in node.names))


def test_only_its_own_room_and_the_registry_speak_of_hetzner() -> None:
    speak = {
        str(path.relative_to(DOMAIN))
        for path in DOMAIN.rglob("*.py")
        if any("hetzner" in word.lower() for word in _said_outside_of_docstrings(path.read_text(encoding="utf-8")))
    }
    own = {module for module in speak if module.startswith("places/hetzner/")}
    assert own
    assert speak - own == set(KNOW_HETZNER)
