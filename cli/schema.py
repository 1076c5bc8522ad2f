"""`./isthmus schema`: the JSON Schema of stack files and the settings reference, made from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.text import Text

from cli import console
from cli.errors import FAILED
from domain.schema import SCHEMA_FILE, schema_text
from domain.settings_reference import REFERENCE_FILE, settings_reference

REPOSITORY: Final = Path(__file__).resolve().parent.parent


def schema(*, write: bool, check: bool) -> int:
    """Prints the schema; ``write`` renews both files in docs/, ``check`` says which of them are not current."""
    if not write and not check:
        print(schema_text(), end="")
        return 0
    stale = []
    for name, text in files().items():
        path = REPOSITORY / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if write:
            path.write_text(text, encoding="utf-8")
            console.results().print(f"Wrote {name}.")
        else:
            stale.append(name)
    for name in stale:
        console.results().print(Text(f"{name} is not what the models say; run `./isthmus schema --write`.", "bold red"))
    return FAILED if stale else 0


def files() -> dict[str, str]:
    """The generated files, by their path in the repository."""
    return {SCHEMA_FILE: schema_text(), REFERENCE_FILE: settings_reference()}
