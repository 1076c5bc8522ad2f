"""docs/architecture.md names files that are there."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PATH = re.compile(r"`((?:domain|components|cli|lab|keeper|tests|docs)/[\w./*-]+)`")


def test_every_file_that_the_page_names_is_there() -> None:
    page = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    named = {path for path in PATH.findall(page) if "NAME" not in path}
    assert len(named) > 20
    assert [path for path in sorted(named) if not list(REPOSITORY.glob(path))] == []
