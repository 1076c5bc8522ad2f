"""Values as Pulumi's own commands write them, as what they mean: ``pulumi config set`` makes a text of everything but
a whole number, true and false, and an object or a list may stand there as a text of JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal

Kind = Literal["int", "bool", "object", "list", "texts"]
"""What is wanted; ``texts`` is an object of which every value is a text."""
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
JSON_LIMIT: Final = 256 * 1024
"""Characters of a text that is read as JSON."""


def meant(value: Any, kind: Kind | None) -> Any:
    """The value itself, or what it means by its spelling. Only spellings that can mean nothing else: ``022`` stays a
    text, and so does ``yes``.
    """
    if kind in ("object", "list", "texts") and isinstance(value, str):
        value = _json(value, dict if kind != "list" else list)
    if kind == "texts" and isinstance(value, dict):
        return {name: _text(entry) for name, entry in value.items()}
    if not isinstance(value, str):
        return value
    if kind == "int" and _WHOLE.fullmatch(value):
        return int(value)
    if kind == "bool" and value in ("true", "false"):
        return value == "true"
    return value


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) and abs(value) < 10**18 else value


def _json(value: str, wanted: type) -> Any:
    if not value.lstrip().startswith(("{", "[")) or len(value) > JSON_LIMIT:
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return read if isinstance(read, wanted) else value
