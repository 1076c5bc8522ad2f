"""A preview refuses what `plan` refuses, word for word and with the same lines: the bad cases of the settings.

`plan` reads the stack file; the program gets its own stack's values from the engine, as texts and JSON, and reads the
others' files. Both ways have to come to the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from components.configuration import read_configuration
from domain.fleet import check_files
from domain.places.registry import secrets
from domain.stack_directory import read_stack_files
from tests.components.recording import GIVEN_KUBECONFIG, SECRET_VALUES, run
from tests.domain.samples import text
from tests.domain.test_settings_messages import (
    BAD,
    BASES,
    GOOD,
    RIGHT,
    WITH_NEIGHBOUR,
    bad_changes,
    configs,
    neighbour_changes,
)

DECRYPTED = {**SECRET_VALUES, "isthmus:kubeconfig": GIVEN_KUBECONFIG}


def as_the_engine_gives(config: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, str]:
    """The values of a stack file as Pulumi hands them to a program: decrypted, texts as they are, all else as JSON.

    What is encrypted and is no secret of the program holds the value that ``right`` has there.
    """
    result = {}
    given = config.get("isthmus:on_premise")
    secret_values = DECRYPTED
    if isinstance(given, dict) and isinstance(given.get("kubeconfig"), dict):
        # A right context is one that the secret has; whether it has it is no matter of the stack file.
        context = json.dumps(given["kubeconfig"].get("context") or "mn")
        named = GIVEN_KUBECONFIG.replace("{name: mn,", f"{{name: {context},")
        secret_values = {**DECRYPTED, "isthmus:kubeconfig": named}
    for key, value in config.items():
        plain = (
            secret_values.get(key, "") if is_encrypted(value) and key in secrets() else decrypted(value, right.get(key))
        )
        result[key] = plain if isinstance(plain, str) else json.dumps(plain)
    return result


def is_encrypted(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"secure"}


def decrypted(value: Any, right: Any) -> Any:
    if is_encrypted(value):
        return right
    if isinstance(value, dict):
        return {
            key: decrypted(entry, right.get(key) if isinstance(right, dict) else None) for key, entry in value.items()
        }
    if isinstance(value, list):
        rest = right if isinstance(right, list) and right else [None]
        return [decrypted(entry, rest[min(index, len(rest) - 1)]) for index, entry in enumerate(value)]
    return value


def refused_by_the_program(
    directory: Path, stack: str, config: Mapping[str, Any], right: Mapping[str, Any]
) -> str | None:
    """The error with which a preview of this stack ends, None when it goes on."""
    errors: list[str] = []

    async def body() -> None:
        try:
            await read_configuration(directory)
        except pulumi.RunError as error:
            errors.append(str(error))

    run(body, stack=stack, config=as_the_engine_gives(config, right), preview=True)
    return errors[0] if errors else None


def as_the_program_says(messages: list[str]) -> str:
    count = "a problem" if len(messages) == 1 else f"{len(messages)} problems"
    return "\n".join([f"{count} in the stack files; nothing was changed:", *messages])


def write(directory: Path, stacks: Mapping[str, Mapping[str, Any]]) -> None:
    for name, config in stacks.items():
        (directory / f"Pulumi.{name}.yaml").write_text(text(config), encoding="utf-8")


OF_WRONG_FILES: Final = 6
"""Of so many wrong files the preview of one always runs, of all with ``thorough``: the words are those of the checks
that `plan` makes, and each is in tests/domain/test_settings_messages.py.
"""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["id"], marks=pytest.mark.thorough if number % OF_WRONG_FILES else ())
        for number, case in enumerate(BAD)
    ],
)
def test_the_same_words(tmp_path: Path, case: dict[str, Any]) -> None:
    stacks = configs(case["stack"], bad_changes(case))
    write(tmp_path, stacks)
    name = BASES[case["stack"]][0]
    planned = [str(problem) for problem in check_files(read_stack_files(tmp_path))]
    assert planned
    right = configs(case["stack"], neighbour_changes(case) if "good" in case else {})[name]
    assert refused_by_the_program(tmp_path, name, stacks[name], right) == as_the_program_says(planned)


OF_NEIGHBOURS: Final = 8
"""Of so many right neighbours the preview of one always runs, of all with ``thorough``: `plan` is asked about each, and
a preview about each wrong file beside them.
"""


def right_cases() -> list[Any]:
    """Everything that is said to be right: the samples themselves, what stands alone, and what stands beside a wrong
    one.
    """
    alone = [(f"{number}-{stack}", stack, changes) for number, (stack, changes) in enumerate(GOOD)]
    named = [(case["id"], case["stack"], bad_changes(case)) for case in RIGHT]
    beside = [(f"beside {case['id']}", case["stack"], neighbour_changes(case)) for case in WITH_NEIGHBOUR]
    always = [pytest.param(stack, changes, id=name) for name, stack, changes in (*alone, *named)]
    return always + [
        pytest.param(stack, changes, id=name, marks=pytest.mark.thorough if number % OF_NEIGHBOURS else ())
        for number, (name, stack, changes) in enumerate(beside)
    ]


@pytest.mark.parametrize(("stack", "changes"), right_cases())
def test_right_files_go_on(tmp_path: Path, stack: str, changes: dict[str, Any]) -> None:
    """What `plan` says of each of them, nothing, is in tests/domain/test_settings_messages.py."""
    stacks = configs(stack, changes)
    write(tmp_path, stacks)
    name = BASES[stack][0]
    assert refused_by_the_program(tmp_path, name, stacks[name], stacks[name]) is None
