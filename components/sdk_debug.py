"""Leaves out the debug messages of Pulumi's SDK, which cost a tenth of a preview.

The SDK sends every one of them to the engine (a request each, some two hundred in a preview) and waits for the answer;
the engine then drops them unless it runs with ``--debug``. ``ISTHMUS_SDK_DEBUG=1`` keeps them, to look into the SDK.
"""

from __future__ import annotations

import os
from typing import Any

import pulumi


def leave_out_debug_messages() -> None:
    """To be called once, before the program runs."""
    if os.environ.get("ISTHMUS_SDK_DEBUG") != "1":
        pulumi.log.debug = _nothing  # the SDK has no setting for it


def _nothing(*_args: Any, **_options: Any) -> None:
    return None
