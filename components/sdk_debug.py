"""Leaves out the debug messages of Pulumi's SDK, which cost a tenth of a preview.

The SDK sends every one of them to the engine (a request each, some two hundred in a preview) and waits for the answer;
the engine then drops them unless it runs with ``--debug``. ``ISTHMUS_SDK_DEBUG=1`` keeps them, to look into the SDK.
The program's own debug messages, which are few, go to the engine in any case.
"""

from __future__ import annotations

import inspect
import os
from typing import Any

import pulumi


def leave_out_debug_messages() -> None:
    """To be called once, before the program runs."""
    if os.environ.get("ISTHMUS_SDK_DEBUG") == "1":
        return
    say = pulumi.log.debug

    def debug(*args: Any, **options: Any) -> None:
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        if caller is None or not _of_the_sdk(str(caller.f_globals.get("__name__", ""))):
            say(*args, **options)

    pulumi.log.debug = debug  # the SDK has no setting for it


def _of_the_sdk(module: str) -> bool:
    """Whether a module belongs to the SDK or to a provider's."""
    return module == "pulumi" or module.startswith(("pulumi.", "pulumi_"))
