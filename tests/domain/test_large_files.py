"""A stack file of any content that is as large as one may be ends in few messages, soon, and says how many are left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, get_origin

import pytest

from domain.fleet import check_files
from domain.places.registry import StackSettings
from domain.problems import PROBLEMS_LIMIT, Problem, bounded, count_of
from domain.reading import read_stack
from domain.settings.forms import item_model_of, model_of
from domain.settings.section import Section
from domain.stack_file import SIZE_LIMIT
from tests.domain.samples import DE, MN, changed, problems_of, said, text

DEADLINE_SECONDS = 5.0
"""Of the processor: what else the machine does must not make a failure. The slowest takes about a second, and two where
others share the processor's cores; what grows with the square of the file takes minutes."""


def filled(key: str, before: str, entry: str, after: str) -> str:
    """The stack file of mn with one section as long as the file may be; ``entry`` has a ``#`` for its number."""
    parts = [text({name: value for name, value in MN.items() if name != key}), f"  {key}: {before}"]
    room, number = SIZE_LIMIT - sum(map(len, parts)) - len(after) - 1, 0
    while (room := room - len(part := entry.replace("#", str(number)))) >= 0:
        parts.append(part)
        number += 1
    return "".join([*parts, after, "\n"])


def long(setting: str, part: str) -> str:
    """The stack file of mn with a text as long as the file may be."""
    around = text(changed(MN, {setting: "PLACE"}))
    return around.replace("PLACE", f'"{part * ((SIZE_LIMIT - len(around)) // len(part))}"')


LISTS = {
    "one peer again and again": ("isthmus:peers", "[", "a,", "]"),
    "many peers": ("isthmus:peers", "[", "p#,", "]"),
    "empty machines": ("isthmus:on_premise", "{machines: [", "{},", "]}"),
    "machines of one key": ("isthmus:on_premise", "{machines: [", "{a: 1},", "]}"),
    "a machine of many keys": ("isthmus:on_premise", "{machines: [{", "a#: 1,", "}]}"),
    "sources that are numbers": ("isthmus:hetzner", "{api_allowed_cidrs: [", "1,", "]}"),
    "labels that are numbers": ("isthmus:hetzner", "{labels: {", "a#: 1,", "}}"),
    "labels that are bad": ("isthmus:hetzner", "{labels: {", "a#: a b,", "}}"),
    "unknown names": ("isthmus:network", "{", "pod_#: ,", "}"),
    "one name again and again": ("isthmus:network", "{", "a: ,", "}"),
    "a range that is a list": ("isthmus:network", "{pod_cidr: [", "1,", "]}"),
    "environment": ("isthmus:netbird", "{agent_env: {", "a#: 1,", "}}"),
    "registries": ("isthmus:mirrors", "{registries: {", "A#: a,", "}}"),
    "zones without a server": ("isthmus:dns", "{forward_zones: {", "a#: [],", "}}"),
    "servers of one zone": ("isthmus:dns", "{forward_zones: {a: [", "1,", "]}}"),
    "addons of k3s": ("isthmus:k3s", "{server_config: {disable: [", "coredns,", "]}}"),
    "values of Cilium": ("isthmus:cilium", "{values: {", "a#: 1,", "}}"),
    "deep values of Cilium": ("isthmus:cilium", "{values: " + "{a: " * 28 + "[", "1,", "]" + "}" * 29),
    "a list under a long name": ("isthmus:cilium", f"{{values: {{{'x' * 100_000}: [", "1,", "]}}"),
    "a list under long names": ("isthmus:cilium", "{values: " + f"{{{'x' * 250}: " * 28 + "[", "1,", "]" + "}" * 29),
}
LIKE_ANOTHER = (
    "one peer again and again",
    "machines of one key",
    "labels that are numbers",
    "environment",
    "servers of one zone",
    "deep values of Cilium",
    "a list under a long name",
)
"""Of each there is one more of its kind, which always runs."""
LONG_SETTINGS = ("network.pod_cidr", "network.dns_zone", "netbird.management_url", "netbird.agent_image",
                 "on_premise.machines.0.host_key")  # fmt: skip
LONG_PARTS = ("a", "a.", "a/", "a:", "@", "ssh-rsa ")
TEXTS = [
    # Each part always runs in one setting, and each setting with one part at least.
    pytest.param(setting, part, marks=() if row == column % len(LONG_SETTINGS) else pytest.mark.thorough)
    for row, setting in enumerate(LONG_SETTINGS)
    for column, part in enumerate(LONG_PARTS)
]


MEASURED = "COVERAGE_PROCESS_START" in os.environ
"""Whether each line is counted, which costs half to all of the time again."""


def check(content: str) -> None:
    assert SIZE_LIMIT - 20 < len(content.encode()) <= SIZE_LIMIT
    start = time.process_time()
    problems = check_files({"de": text(DE), "mn": content})
    lines = [str(problem) for problem in problems]
    assert time.process_time() - start < DEADLINE_SECONDS * (2 if MEASURED else 1)
    assert len([problem for problem in problems if problem.stack == "mn"]) <= PROBLEMS_LIMIT + 1
    assert max(map(len, lines), default=0) < 1000


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.thorough if kind in LIKE_ANOTHER else ()) for kind in LISTS]
)
def test_long_lists_and_objects(kind: str) -> None:
    check(filled(*LISTS[kind]))


def test_what_is_like_another_is_there() -> None:
    assert set(LIKE_ANOTHER) < set(LISTS)


@pytest.mark.parametrize(("setting", "part"), TEXTS)
def test_long_texts(setting: str, part: str) -> None:
    check(long(setting, part))


def test_a_long_name() -> None:
    start = f"{text(MN)}  isthmus:"
    check(f"{start}{'a.' * ((SIZE_LIMIT - len(start)) // 2 - 2)}: 1\n")


# --- limits of lists and objects --------------------------------------------------------------------------------------


def collections(path: str, model: type[Section]) -> Iterator[tuple[str, Any]]:
    """Every setting that is a list or an object of any names, with its field."""
    for name, field in model.model_fields.items():
        below = f"{path}{name}"
        if (inner := model_of(field.annotation)) is not None:
            yield from collections(f"{below}.", inner)
        elif str(field.annotation).startswith(("tuple[", "dict[")):
            yield below, field
            if (item := item_model_of(field.annotation)) is not None:
                yield from collections(f"{below}.{'db' if get_origin(field.annotation) is dict else 0}.", item)


LIMITS = {
    setting: next((constraint.max_length for constraint in field.metadata if hasattr(constraint, "max_length")), None)
    for setting, field in collections("", StackSettings)
}


def test_every_list_and_object_has_a_limit() -> None:
    without = [setting for setting, limit in LIMITS.items() if limit is None]
    assert without == ["cilium.values"]  # none of its entries has a message of its own unless it is one of ours
    assert len(LIMITS) == 18


FEWER = {
    "peers": "link with fewer",
    "on_premise.machines": "make more clusters of them",
    "hetzner.api_allowed_cidrs": "join them to larger ranges",
    "hetzner.ssh_allowed_cidrs": "join them to larger ranges",
}


@pytest.mark.parametrize("setting", [setting for setting, limit in LIMITS.items() if limit is not None])
def test_more_than_the_limit(setting: str) -> None:
    limit = LIMITS[setting]
    assert limit is not None
    stack, base = ("mn", MN) if setting.startswith("on_premise") else ("de", DE)

    def messages(count: int) -> list[str]:
        is_list = setting.endswith(("peers", "machines", "unlisted", "cidrs", "members", "taints"))
        value = [1.5] * count if is_list else {f"N{n}": 1.5 for n in range(count)}
        found = problems_of(**{stack: changed(base, {setting: value})})
        return [sentence for sentence in said(found) if sentence.startswith(f"{stack}: {setting}")]

    fewer = FEWER.get(setting, "write fewer")
    assert messages(limit + 1) == [
        f"{stack}: {setting} has {limit + 1} entries; at most {limit} are possible; {fewer}."
    ]
    assert len(messages(limit)) > 1  # each entry has its own


# --- many problems ----------------------------------------------------------------------------------------------------


def test_the_rest_is_counted() -> None:
    unknown = {f"x{n}": 1 for n in range(PROBLEMS_LIMIT + 55)}
    problems = problems_of(mn=changed(MN, {"network": MN["isthmus:network"] | unknown}))
    assert len(problems) == PROBLEMS_LIMIT + 1
    assert str(problems[-1]) == "mn: Pulumi.mn.yaml has 55 more problems; mend those above first."
    assert count_of(problems) == PROBLEMS_LIMIT + 55


def test_each_stack_has_its_own_number() -> None:
    many = [Problem(stack, f"s{n}", "", "r", "f", n) for stack in ("a", "b") for n in range(PROBLEMS_LIMIT + 1)]
    found = bounded([*many, Problem("c", "s", "", "r", "f")])
    assert [(problem.stack, problem.rule, problem.count) for problem in found if problem.rule != "r"] == [
        ("a", "has 1 more problem", 1),
        ("b", "has 1 more problem", 1),
    ]
    assert [problem.stack for problem in found].index("b") == PROBLEMS_LIMIT + 1
    assert bounded(many[:PROBLEMS_LIMIT]) == many[:PROBLEMS_LIMIT]


def test_guesses_end_when_nobody_reads_them() -> None:
    near = {f"pod_cid{chr(97 + n % 26)}{n}": 1 for n in range(PROBLEMS_LIMIT + 50)}
    problems = read_stack("mn", changed(MN, {"network": near})).problems
    assert "did you mean pod_cidr?" in str(problems[0])
    assert "there are: cluster_dns, dns_zone" in str(problems[-6])
