"""Every mistake in a stack file gives its message, word for word, and its good neighbour gives none.

The cases are data in ``bad_settings.yaml``. That none is left out, and that every message has a case and a neighbour,
is tested here as well.
"""

from __future__ import annotations

import ast
import functools
import pkgutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from domain import settings, values
from domain.fleet import check_files
from domain.places import hetzner, on_premise
from domain.places.registry import StackSettings
from domain.problems import Problem
from domain.reading import read_stack
from domain.settings.forms import model_of
from domain.values.rule_error import RuleError
from tests.domain.samples import (
    CLUSTER_SECRET,
    DE,
    GIVEN,
    HOST_KEYS,
    MN,
    REMOVE,
    Loader,
    changed,
    data_of,
    problems_of,
    said,
    text,
)
from tests.parsing import parsed

HERE = Path(__file__).parent
BASES = {"de": ("de", DE), "mn": ("mn", MN), "given": ("mn", GIVEN)}
FILES = [HERE / "bad_settings.yaml", *sorted((HERE / "bad_settings").glob("*.yaml"))]
BAD: list[dict[str, Any]] = [case for file in FILES for case in data_of(file.read_text(encoding="utf-8"))]
RIGHT_FILES = [HERE / "good_settings.yaml", *sorted((HERE / "good_settings").glob("*.yaml"))]
RIGHT: list[dict[str, Any]] = [case for file in RIGHT_FILES for case in data_of(file.read_text(encoding="utf-8"))]
WITH_NEIGHBOUR = [case for case in BAD if "good" in case]

FOUR_MACHINES = [
    {"name": f"m-{n}", "address": f"192.168.7.{n}", "role": role, "router": n == 14, "host_key": HOST_KEYS[0]}
    for n, role in ((11, "server"), (12, "server"), (13, "server"), (14, "agent"))
]
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("de", {}),
    ("mn", {}),
    ("given", {}),
    ("given", {"cilium": {"values": {"k8sServiceHost": "192.168.7.12", "k8sServicePort": 6443}}}),
    ("de", {"network.pod_cidr": "10.44.0.0/16"}),
    ("de", {"network.pod_cidr": "10.42.0.0/23"}),
    ("de", {"network.pod_cidr": "10.64.0.0/10"}),
    ("de", {"network.pod_cidr": "172.16.0.0/16"}),
    ("de", {"network.service_cidr": "10.43.0.0/22"}),
    ("de", {"network.service_cidr": "10.16.0.0/12"}),
    ("de", {"network.node_cidr": "10.0.1.0/26"}),
    ("de", {"network.node_cidr": "10.0.0.0/16"}),
    ("de", {"network.cluster_dns": "10.43.0.11"}),
    ("de", {"network.dns_zone": "de.mn-and-de.internal"}),
    ("mn", {"network.node_cidr": "203.0.113.0/24", "on_premise.machines.0.address": "203.0.113.1",
            "on_premise.machines.1.address": "203.0.113.254"}),
    ("de", {"hetzner.routers": REMOVE}),
    ("de", {"hetzner.control_plane.count": 3}),
    ("de", {"hetzner.workers.count": 9}),
    ("de", {"hetzner.workers.count": 0}),
    ("de", {"hetzner.location": "ash", "hetzner.network_zone": "us-east",
            "hetzner.control_plane.server_type": "cpx21", "hetzner.workers.server_type": "ccx13"}),
    ("de", {"hetzner.location": "new1", "hetzner.network_zone": "eu-new", "hetzner.unlisted": ["new1"]}),
    ("de", {"hetzner.api_allowed_cidrs": ["0.0.0.0/0"]}),
    ("de", {"hetzner.network_cidr": "10.0.1.0/24"}),
    ("de", {"hetzner.labels": {"example.net/team": "platform", "empty": ""}}),
    ("de", {"hetzner.delete_protection": True}),
    ("mn", {"on_premise.machines": FOUR_MACHINES}),
    ("mn", {"on_premise.machines": FOUR_MACHINES, "network.pod_cidr": "10.52.0.0/22"}),
    ("mn", {"on_premise.machines.0.host_key": HOST_KEYS[0] + " root@mn-1"}),
    ("mn", {"on_premise.ssh": {}}),
    ("mn", {"on_premise.ssh": {"user": "debian", "port": 65535}}),
    ("de", {"k3s.version": "v1.35.5-rc1+k3s1"}),
    ("de", {"cilium": {"mtu": 1320}, "peer": {"cilium": {"mtu": 1320}}}),
    ("de", {"cilium": {"mtu": 1450}, "netbird": {"mtu": 1420},
            "peer": {"cilium": {"mtu": 1450}, "netbird": {"mtu": 1420}}}),
    ("de", {"cilium": {"values": {"securityContext": {"privileged": True}}}}),
    ("de", {"cilium": {"values": {"MTU": 1280, "hubble": {"enabled": True}, "bpf": {"masquerade": True}}}}),
    ("de", {"cilium": {"values": {"encryption": {"type": "wireguard", "enabled": False}, "tunnelPort": 8472}}}),
    ("de", {"cilium": {"values": {"extraConfig": {"mtu-probing": "x"}, "extraArgs": ["--log-opt=level=debug"],
                                  "extraEnv": [{"name": "GOMAXPROCS", "value": "2"}, {"name": "CILIUM_DEBUG"}],
                                  "operator": {"extraArgs": ["--debug"], "enabled": True}}}}),
    ("de", {"netbird": {"management_url": "http://198.51.100.10:8080/"},
            "peer": {"netbird": {"management_url": "http://198.51.100.10:8080"}}}),
    ("de", {"netbird": {"agent_image": "registry.example.net:5000/netbird@sha256:" + "0a" * 32}}),
    ("de", {"netbird": {"agent_env": {"NB_RELAY_TRANSPORT": "ws"}}}),
    ("de", {"dns": {"relay_image": "coredns/coredns:1.14.5", "stale_seconds": 0, "record_ttl_seconds": 0}}),
    ("de", {"dns": {"relay_image": "registry.example.net/coredns:stable"}}),
    ("de", {"mirrors": {"k3s": "http://198.51.100.30/k3s", "registries": {"registry.example.net:5000": "http://m"}}}),
    ("de", {"hcloud:endpoint": "http://198.51.100.20/v1", "hcloud:pollInterval": "10ms",
            "hcloud:pollFunction": "constant"}),
    ("de", {"pulumi:disable-default-providers": ["hcloud"], "aws:region": "eu-central-1"}),
]  # fmt: skip


def configs(stack: str, changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Both stacks of the case; under ``peer`` stand changes of the other one, under ``more`` those of further stacks,
    each with the one that it is made from.
    """
    name, base = BASES[stack]
    other, other_base = ("mn", MN) if name == "de" else ("de", DE)
    own = {setting: value for setting, value in changes.items() if setting not in ("peer", "more")}
    further = {
        stack_name: changed(BASES[made["from"]][1], made.get("set", {}))
        for stack_name, made in changes.get("more", {}).items()
    }
    return {name: changed(base, own), other: changed(other_base, changes.get("peer", {})), **further}


def check(stack: str, changes: dict[str, Any]) -> list[Problem]:
    return problems_of(**configs(stack, changes))


def bad_changes(case: dict[str, Any]) -> dict[str, Any]:
    return {**case.get("set", {}), **dict.fromkeys(case.get("remove", []), REMOVE)}


def neighbour_changes(case: dict[str, Any]) -> dict[str, Any]:
    changes = bad_changes(case) | case["good"]
    return {setting: value for setting, value in changes.items() if value is not None}


def test_there_are_many_cases_and_none_is_there_twice() -> None:
    assert len(BAD) >= 150
    assert len({case["id"] for case in BAD}) == len(BAD)


def test_every_case_is_collected(request: pytest.FixtureRequest) -> None:
    """A parametrization that lost a case would pass in silence."""
    module = request.node.getparent(pytest.Module)
    collected = {item.name for item in module.collect()}
    missing = [case["id"] for case in BAD if f"test_bad[{case['id']}]" not in collected]
    assert missing == []


def line_of(setting: str, content: str) -> int:
    """Where the setting stands, or else the nearest that it would stand in, as PyYAML tells it."""
    document: Any = yaml.compose(content, Loader)
    (key, node), *_ = document.value
    rest = setting
    while rest:
        if isinstance(node, yaml.SequenceNode):
            entries = [(str(index), entry, entry) for index, entry in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            entries = [(name.value.removeprefix("isthmus:"), name, value) for name, value in node.value]
        else:
            break
        found = [entry for entry in entries if rest == entry[0] or rest.startswith(f"{entry[0]}.")]
        if not found:
            break
        name, key, node = found[0]
        rest = rest[len(name) + 1 :]
    return int(key.start_mark.line) + 1


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["id"])
def test_bad(case: dict[str, Any]) -> None:
    """Its messages, each with setting, rule, fix and line, and without a secret."""
    stacks = configs(case["stack"], bad_changes(case))
    problems = problems_of(**stacks)
    assert said(problems) == case["says"]
    assert problems
    for problem in problems:
        assert problem.setting
        assert problem.rule
        assert problem.fix
        assert problem.line == line_of(problem.setting, text(stacks[problem.stack]))
        for secret in (CLUSTER_SECRET, "hunter2", "A2C8E62B"):
            assert secret not in str(problem)


def test_the_stack_that_a_case_leaves_alone_may_be_read_once() -> None:
    """What :func:`problems_of` spares changes no message."""
    some = [configs(case["stack"], bad_changes(case)) for case in BAD[::25]]
    assert len(some) > 20
    for stacks in some:
        assert problems_of(**stacks) == check_files({name: text(config) for name, config in stacks.items()})


@pytest.mark.timeout(300)
def test_every_good_neighbour_passes() -> None:
    """One test for all of them: each takes 2 ms, and a test by itself as much again."""
    assert len(WITH_NEIGHBOUR) > 500
    said_of = {case["id"]: said(check(case["stack"], neighbour_changes(case))) for case in WITH_NEIGHBOUR}
    assert {name: messages for name, messages in said_of.items() if messages} == {}


@pytest.mark.parametrize(("stack", "changes"), GOOD, ids=[f"{n}-{stack}" for n, (stack, _) in enumerate(GOOD)])
def test_good(stack: str, changes: dict[str, Any]) -> None:
    assert said(check(stack, changes)) == []


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case["id"])
def test_right(case: dict[str, Any]) -> None:
    changes = {**case.get("set", {}), **dict.fromkeys(case.get("remove", []), REMOVE)}
    assert said(check(case["stack"], changes)) == []


def test_too_many_machines() -> None:
    machines = [
        {"name": f"m-{n}", "address": f"192.168.7.{n}", "role": "server" if n == 1 else "agent", "router": n == 2,
         "host_key": HOST_KEYS[0]}
        for n in range(1, 202)
    ]  # fmt: skip
    assert said(check("mn", {"on_premise.machines": machines})) == [
        "mn: on_premise.machines has 201 entries; at most 200 are possible; make more clusters of them."
    ]
    assert said(check("mn", {"on_premise.machines": machines[:200]})) == []


# --- what a message says to write is right at its place ---------------------------------------------------------------

Place = tuple[str | int, ...]
ENTRIES = (
    "peers",
    "hetzner.api_allowed_cidrs",
    "hetzner.ssh_allowed_cidrs",
    "hetzner.labels",
    "hetzner.unlisted",
    "hetzner.pools",
    "on_premise.machines",
    "k3s.server_config",
    "k3s.agent_config",
    "netbird.agent_env",
    "dns.forward_zones",
    "mirrors.registries",
)


def example_of(setting: str) -> Any:
    model: Any = StackSettings
    *sections, name = setting.split(".")
    for section in sections:
        model = model_of(model.model_fields[section].annotation)
    return as_written(model.model_fields[name].examples[0])


def as_written(example: str) -> Any:
    return data_of(example.replace("ssh-ed25519 AAAA...", HOST_KEYS[0]))


def places_in(value: Any, above: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*above, key)
            yield from places_in(inner, (*above, key))


def with_value(value: Any, place: Place, new: Any) -> Any:
    if not place:
        return new
    result: Any = dict(value) if isinstance(value, dict) else list(value)
    result[place[0]] = with_value(result[place[0]], place[1:], new)
    return result


@pytest.mark.parametrize("setting", ENTRIES)
def test_the_example_of_an_entry_is_right_there(setting: str) -> None:
    stack = "mn" if setting.startswith("on_premise") else "de"
    example = example_of(setting)
    assert said(check(stack, {setting: example})) == []
    by_name = {".".join(map(str, (setting, *place))): place for place in places_in(example)}
    for place in by_name.values():
        wrong = with_value(example, place, {"": 1.5})
        at = [problem for problem in check(stack, {setting: wrong}) if problem.setting in by_name]
        assert at
        for problem in at:
            if problem.fix.startswith("write it like "):
                right = as_written(problem.fix.removeprefix("write it like "))
                mended = with_value(example, by_name[problem.setting], right)
                assert said(check(stack, {setting: mended})) == []
        assert at, f"nothing is said of {place}"


# --- every message has a case and a neighbour -------------------------------------------------------------------------


def modules_in(package: ModuleType) -> list[ModuleType]:
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    return [import_module(f"{package.__name__}.{name}") for name in names]


RULE_MODULES = (
    "address_rules",
    "agent_rules",
    "cilium_forms",
    "cilium_rules",
    "fleet",
    "host_keys",
    "k3s_flags",
    "k3s_rules",
    "keeper_port",
    "keeper_rules",
    "mtu_rules",
    "netbird_rules",
    "peer_rules",
    "place_rules",
    "plain_secrets",
    "range_rules",
    "reading",
    "secret_rules",
    "stack_name_rules",
    "tunnel_port",
    "zone_rules",
)
MODULES = {
    module.__name__.removeprefix("domain."): module
    for module in (
        *modules_in(values),
        *modules_in(settings),
        *modules_in(hetzner),
        *modules_in(on_premise),
        *(import_module(f"domain.{name}") for name in RULE_MODULES),
    )
}
ELSEWHERE = {
    "settings.messages.too_many": "test_large_files.py, whose lists are long",
    "stack_name_rules.": "test_fleet.py, since it is of stacks of other names",
    "reading.read_stack": "test_stack_directory.py, since it is of the file's name",
    "settings.messages.problem_of: 'is not a possible value'": "test_text_that_is_no_unicode, which no file is",
    "places.hetzner.changes.": "test_changes.py, since it is of what runs",
    "places.hetzner.offer.": "test_hetzner_offer.py, since it is of what Hetzner says",
    "places.on_premise.changes.": "test_changes.py, since it is of what runs",
    "places.on_premise.given_cluster.": "test_given_cluster.py, since it is of what a cluster's API says",
    "places.on_premise.preflight.": "test_preflight.py, since it is of what machines say",
    "secret_rules.secret_value_problems": "test_keys.py, since it is of decrypted values",
    "fleet.no_secret_in_project": "test_project_file.py, since it is of the project's file",
}


@functools.cache
def branches() -> dict[tuple[str, int], str]:
    """Every place that makes a message, by module and line: all lines of a call lead to the call's name here."""
    found: dict[tuple[str, int], str] = {}
    for name, module in MODULES.items():
        functions = ast.walk(parsed(Path(str(module.__file__)).read_text(encoding="utf-8")))
        for function in (candidate for candidate in functions if isinstance(candidate, ast.FunctionDef)):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in ("Problem", "RuleError", "without_effect"):
                    words = call.args[{"RuleError": 0, "Problem": 3, "without_effect": -1}[ast.unparse(call.func)]]
                    branch = f"{name}.{function.name}: {ast.unparse(words)}"
                    while branch in found.values():
                        branch += " (again)"
                    found |= {(name, line): branch for line in range(call.lineno, (call.end_lineno or 0) + 1)}
    return {place: branch for place, branch in found.items() if ".without_effect:" not in branch}


def branches_of_cases() -> dict[str, frozenset[str]]:
    """The id of each bad case, with the messages that it gives."""
    spoke: list[str] = []

    def noting(make: Any) -> Any:
        def noted(*arguments: Any, **options: Any) -> Any:
            frame = sys._getframe(1)
            if frame.f_code.co_name == "without_effect":
                frame = frame.f_back or frame
            spoke.append(branches()[frame.f_globals["__name__"].removeprefix("domain."), frame.f_lineno])
            return make(*arguments, **options)

        return noted

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RuleError, "__init__", noting(RuleError.__init__))
        for module in MODULES.values():
            if hasattr(module, "Problem"):
                patch.setattr(module, "Problem", noting(Problem))
        for case in BAD:
            spoke.clear()
            check(case["stack"], bad_changes(case))
            found[case["id"]] = frozenset(spoke)
    return found


def test_every_message_has_a_bad_case_and_a_good_neighbour() -> None:
    here = sorted({branch for branch in branches().values() if not branch.startswith(tuple(ELSEWHERE))})
    assert len(here) >= 150
    cases = branches_of_cases()
    beside = {case["id"] for case in WITH_NEIGHBOUR}
    spoken = frozenset().union(*cases.values())
    neighboured = frozenset().union(*(spoke for name, spoke in cases.items() if name in beside))
    assert [branch for branch in here if branch not in spoken] == [], "no bad case"
    assert [branch for branch in here if branch not in neighboured] == [], "no good neighbour"


def test_text_that_is_no_unicode() -> None:
    """The engine may hand one on, in JSON."""
    draft = read_stack("mn", changed(GIVEN, {"on_premise.kubeconfig.context": "\ud800"}))
    assert said(list(draft.problems)) == [
        "mn: on_premise.kubeconfig.context '\\ud800' is not a possible value; write it like mn."
    ]
