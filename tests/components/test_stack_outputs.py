"""The outputs of a stack as its last update left them, asked of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components import stack_outputs
from components.stack_outputs import last_outputs, stack_name
from tests.components.recording import run


def asked(stack: str, stacks: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """The stack's whole name, and what the engine says of it."""
    found: list[Any] = []

    async def body() -> None:
        found.extend([stack_name(stack), await last_outputs(stack)])

    assert run(body, stack="mn", config={}, preview=True, stacks=stacks).registrations == [], "it is no resource"
    return found


def test_what_the_last_update_left() -> None:
    assert asked("de", {"de": {"link": {"cluster": "de"}}}) == [
        "organization/isthmus/de",
        {"link": {"cluster": "de"}},
    ]


def test_a_stack_without_an_update_has_none() -> None:
    assert asked("de", {"de": {}})[1] == {}


def test_a_stack_that_is_not_there_is_no_error() -> None:
    assert asked("de", {"mn": {}})[1] is None


class Backend:
    """A backend in files that is written while it is read: so many times the state is half there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, half: int, error: str = "failed to load checkpoint") -> None:
        self.half, self.error, self.reads = half, error, 0
        monkeypatch.setattr(pulumi.runtime, "invoke_async", self.invoke)
        monkeypatch.setattr(stack_outputs, "_PAUSES_SECONDS", (0.0, 0.0))

    async def invoke(self, token: str, arguments: Mapping[str, Any]) -> Any:
        assert (token, arguments) == ("pulumi:pulumi:readStackOutputs", {"name": "organization/isthmus/de"})
        self.reads += 1
        if self.reads <= self.half:
            raise Exception(f"{self.error}: unexpected end of JSON input")
        return {"outputs": {"a": 1}}


@pytest.mark.parametrize("half", [0, 1, 2])
def test_a_state_that_is_being_written_is_read_again(monkeypatch: pytest.MonkeyPatch, half: int) -> None:
    backend = Backend(monkeypatch, half=half)
    assert asked("de", {})[1] == {"a": 1}
    assert backend.reads == half + 1


@pytest.mark.parametrize(
    ("half", "error", "reads"), [(3, "failed to load checkpoint", 3), (1, "passphrase must be set", 1)]
)
def test_a_state_that_can_not_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, half: int, error: str, reads: int
) -> None:
    backend = Backend(monkeypatch, half=half, error=error)
    with pytest.raises(Exception, match=f"^{error}: unexpected end"):
        asked("de", {})
    assert backend.reads == reads


@pytest.mark.parametrize("answer", [None, {}, {"outputs": None}])
def test_an_answer_without_outputs_is_a_stack_without_them(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    async def invoke(token: str, arguments: Mapping[str, Any]) -> object:
        return answer

    monkeypatch.setattr(pulumi.runtime, "invoke_async", invoke)
    assert asked("de", {})[1] == {}
