"""The outputs of a stack as its last update left them, asked of the engine without a resource.

It owns that question. What the outputs mean is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi


def stack_name(stack: str) -> str:
    """The whole name of a stack of this project."""
    return f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"


async def last_outputs(stack: str) -> Mapping[str, Any] | None:
    """The outputs, empty before the first update and after a destroy; None when the backend knows no such stack.

    A StackReference to a missing stack fails the whole run and can't be caught
    (https://github.com/pulumi/pulumi/issues/3540); the engine's own function, which it is built on, can be.
    """
    try:
        answer = await pulumi.runtime.invoke_async("pulumi:pulumi:readStackOutputs", {"name": stack_name(stack)})
    except Exception as error:  # the SDK raises bare Exceptions for a failed invoke
        if "unknown stack" in str(error):
            return None
        raise
    outputs = answer.get("outputs") if isinstance(answer, Mapping) else None
    return outputs if isinstance(outputs, Mapping) else {}
