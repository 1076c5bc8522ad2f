"""What the commands of several groups have in common."""

from __future__ import annotations

from typing import Annotated, Final

import typer

HELP: Final = {"help_option_names": ["-h", "--help"]}
"""Settings of every group."""
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of text, with exit code 3 an object with `error`.")
]
