"""Values of other resources: what is known stays known."""

from __future__ import annotations

from ipaddress import IPv4Address

import pulumi

from components.inputs import once_known, text_of
from tests.components.recording import run


def test_what_is_known_is_made_at_once() -> None:
    assert text_of(IPv4Address("10.0.1.11")) == "10.0.1.11"
    assert once_known(lambda first, other: first + other, "a", "b") == "ab"


def test_what_comes_later_is_made_then() -> None:
    found: list[object] = []

    async def soon() -> int:
        return 2

    async def body() -> None:
        made = once_known(lambda first, other: first * other, pulumi.Output.from_input(3), 2)
        assert isinstance(made, pulumi.Output)
        found.append(await made.future())
        text = text_of(soon())
        assert isinstance(text, pulumi.Output)
        found.append(await text.future())

    run(body, stack="office", config={}, preview=False)
    assert found == [6, "2"]
