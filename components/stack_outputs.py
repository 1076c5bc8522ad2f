"""The outputs of a stack as its last update left them, asked of the engine without a resource.

It owns that question. What the outputs mean is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pulumi

_PAUSES_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""A backend in files is written in place, so a reader can meet a half-written state: of this stack during its own
update, of a peer's during the peer's."""


def stack_name(stack: str) -> str:
    """The whole name of a stack of this project."""
    return f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"


async def last_outputs(stack: str) -> Mapping[str, Any] | None:
    """The outputs, empty before the first update and after a destroy; None when the backend knows no such stack.

    A StackReference to a missing stack fails the whole run and can't be caught
    (https://github.com/pulumi/pulumi/issues/3540); the engine's own function, which it is built on, can be.
    """
    for pause in (*_PAUSES_SECONDS, None):
        try:
            answer = await pulumi.runtime.invoke_async("pulumi:pulumi:readStackOutputs", {"name": stack_name(stack)})
            break
        except Exception as error:  # the SDK raises bare Exceptions for a failed invoke
            if "unknown stack" in str(error):
                return None
            if "failed to load checkpoint" not in str(error) or pause is None:
                raise
            await asyncio.sleep(pause)
    outputs = answer.get("outputs") if isinstance(answer, Mapping) else None
    return outputs if isinstance(outputs, Mapping) else {}
