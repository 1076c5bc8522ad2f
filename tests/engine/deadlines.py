"""The program with shorter deadlines, for tests in which something comes too late.

A deadline is a constant of a component. What runs is a copy of the components in which some are others; the program is
the same.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from tests.engine.project import REPOSITORY, Project

_CONSTANT: Final = r"^(?P<head>{name}(: Final)? = )\S+$"


@contextmanager
def shorter(project: Project, deadlines: Mapping[str, float | str]) -> Iterator[None]:
    """While it lasts, the constants of these names have these values. Each has to be there, once."""
    link = project.directory / "components"
    if not deadlines:
        yield
        return
    link.unlink()
    try:
        shutil.copytree(REPOSITORY / "components", link, ignore=shutil.ignore_patterns("__pycache__"))
        texts = {path: path.read_text(encoding="utf-8") for path in link.glob("*.py")}
        for name, value in deadlines.items():
            constant = re.compile(_CONSTANT.format(name=name), re.MULTILINE)
            (path,) = [path for path, text in texts.items() if constant.search(text)]
            texts[path] = constant.sub(rf"\g<head>{value!r}", texts[path])
            path.write_text(texts[path], encoding="utf-8")
        yield
    finally:
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        if not link.is_symlink():
            link.symlink_to(REPOSITORY / "components")
