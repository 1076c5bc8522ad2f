"""The SDK's debug messages stay away from the engine, those of the program reach it."""

from __future__ import annotations

import pulumi
import pytest

from components.sdk_debug import leave_out_debug_messages


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches the engine."""
    messages: list[str] = []
    monkeypatch.setattr(pulumi.log, "debug", lambda message, *_args, **_options: messages.append(message))
    return messages


def debug_in(module: str, message: str) -> None:
    """A debug message out of a module of that name."""
    exec(f"pulumi.log.debug({message!r})", {"__name__": module, "pulumi": pulumi})


@pytest.mark.parametrize(
    "module", ["pulumi", "pulumi.runtime.resource", "pulumi_kubernetes.helm.v3", "pulumi_hcloud._utilities"]
)
def test_the_sdk_is_left_out(module: str, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTHMUS_SDK_DEBUG", raising=False)
    leave_out_debug_messages()
    debug_in(module, "of the SDK")
    assert said == []


@pytest.mark.parametrize("module", ["components.helm_records", "__main__", "pulumis_of_somebody"])
def test_the_program_is_heard(module: str, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTHMUS_SDK_DEBUG", raising=False)
    leave_out_debug_messages()
    debug_in(module, "of the program")
    assert said == ["of the program"]


def test_everything_is_heard_by_who_wants_to_look_into_the_sdk(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_SDK_DEBUG", "1")
    leave_out_debug_messages()
    debug_in("pulumi.runtime.resource", "of the SDK")
    assert said == ["of the SDK"]
