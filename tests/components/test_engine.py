"""Who calls back: the engine does, the SDK's mocks do not."""

from __future__ import annotations

from typing import cast

import pulumi
import pytest

from components.engine import ENGINE, MOCKS


def test_the_engine_gets_hooks_and_transforms() -> None:
    binding = pulumi.ResourceHookBinding()
    transform = cast("pulumi.ResourceTransform", object())
    assert ENGINE.calls_back
    assert ENGINE.hooks(lambda: binding) is binding
    assert ENGINE.transforms(transform, transform) == [transform, transform]


def test_under_mocks_no_hook_is_even_made() -> None:
    """Making one registers it, for which the mocks have no place."""
    assert not MOCKS.calls_back
    assert MOCKS.hooks(lambda: pytest.fail("a hook was made")) is None
    assert MOCKS.transforms(cast("pulumi.ResourceTransform", object())) is None
