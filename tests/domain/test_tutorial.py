"""docs/tutorial.md without running anything: its steps come in an order in which none meets what a later one mends."""

from __future__ import annotations

import re

import pytest
import yaml

from cli.app import app
from domain.places.registry import secrets
from domain.reading import read_stack
from domain.secret_rules import needed_secrets
from domain.starter_text import K3S_VERSION
from tests.tutorial import PAGE, REPOSITORY, commands, section, spans
from toolchain import versions

TYPED = commands(section(2))
STACKS = {
    name: yaml.safe_load((REPOSITORY / f"Pulumi.{name}.yaml").read_text(encoding="utf-8"))["config"]
    for name in ("de", "mn")
}


def first(pattern: str) -> int:
    """The place of the first command that matches."""
    return next(number for number, command in enumerate(TYPED) if re.search(pattern, command))


def last(pattern: str) -> int:
    return max(number for number, command in enumerate(TYPED) if re.search(pattern, command))


def test_code_is_told_from_text() -> None:
    page = "1. A step\n   goes on `here`.\n\n       pulumi up  # ends\n\n   - text\n       of a list\n\n    ./go on\n"
    assert commands(page) == ["pulumi up", "./go on"]
    assert len(TYPED) > 15


def test_nothing_is_refused_that_a_later_step_mends() -> None:
    """Backend before stacks, checksum and secrets before the plan, the plan before Pulumi's."""
    order = [
        last(r"^export PATH="),
        first(r"^pulumi login"),
        first(r"PULUMI_CONFIG_PASSPHRASE_FILE="),
        first(r"k3s-checksum"),
        first(r"^pulumi stack init"),
    ]
    assert order == sorted(order)
    assert last(r"pulumi config set") < first(r"^\./isthmus plan") < first(r"^pulumi preview") < first(r"^pulumi up")
    assert [command for command in TYPED if command.startswith("pulumi up")] == [
        "pulumi up -s de",
        "pulumi up -s mn",
        "pulumi up -s de",
        "pulumi up -s de --target '**hcloud:index/firewall:Firewall**'",
    ]


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_every_secret_is_set_once_the_stack_is_there(stack: str) -> None:
    needed = {secret.key.removeprefix("isthmus:") for secret in needed_secrets(read_stack(stack, STACKS[stack]))}
    setting = re.compile(rf"pulumi config set --secret (\S+) -s {stack}\b")
    found = [(number, match[1]) for number, command in enumerate(TYPED) if (match := setting.search(command))]
    assert {name for _, name in found} == needed
    assert len(found) == len(needed)
    assert all(f"isthmus:{name}" in secrets() or name in secrets() for name in needed)
    assert min(number for number, _ in found) > first(rf"^pulumi stack init {stack}$")


def test_versions_are_ours() -> None:
    assert f"--version {versions.PULUMI}" in TYPED[first("get.pulumi.com")]
    assert f"./isthmus k3s-checksum {K3S_VERSION}" in TYPED
    for name, config in STACKS.items():
        assert config["isthmus:k3s"]["version"] == K3S_VERSION, name


def test_commands_of_isthmus_and_files_are_there() -> None:
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    named = re.findall(r"\./isthmus ([a-z0-9-]+)", PAGE.read_text(encoding="utf-8"))
    assert {"lab", "plan", "k3s-checksum"} <= set(named) <= known | {"lab"}
    links = re.findall(r"\]\(([a-z./-]+\.md)\)", PAGE.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (PAGE.parent / link).is_file()


def test_what_is_marked_is_explained() -> None:
    """Every mark of the shipped files has a row of its own, or is what a command prints."""
    text = section(2)
    for name in STACKS:
        marks = re.findall(r'"<([^"]*)>"', (REPOSITORY / f"Pulumi.{name}.yaml").read_text(encoding="utf-8"))
        assert marks
        for mark in marks:
            said = spans(mark)
            assert (said and said[0] in TYPED) or mark.split(", like")[0] in text, mark
