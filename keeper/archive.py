"""What Python starts of the archive in which the keeper is delivered. There it is ``__main__.py``, and beside it lies
the package in one compressed piece, {path: source} (``domain/keeper.py`` makes both).
"""

from __future__ import annotations

import bz2
import json
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Final

PACKED: Final = "keeper.json.bz2"


class PackedModules(MetaPathFinder, ExecutionLoader):
    """Imports modules from ``sources``, by paths like ``keeper/service.py``. A traceback shows their lines."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for a module of somebody else."""
        return spec_from_loader(fullname, self) if self._path(fullname) in self._sources else None

    def get_filename(self, fullname: str) -> str:
        """The path among the sources."""
        return self._path(fullname)

    def get_source(self, fullname: str) -> str:
        """The text; ImportError where there is none."""
        try:
            return self._sources[self._path(fullname)]
        except KeyError as missing:
            raise ImportError(f"there is no {missing} in the archive", name=fullname) from None

    def is_package(self, fullname: str) -> bool:
        """Whether other modules may be below it."""
        return self._path(fullname).endswith("/__init__.py")

    def _path(self, fullname: str) -> str:
        place = fullname.replace(".", "/")
        package = f"{place}/__init__.py"
        return package if package in self._sources else f"{place}.py"


def start() -> None:
    """Runs the keeper of the archive whose ``__main__.py`` this is."""
    packed = pkgutil.get_data(__name__, PACKED)
    if packed is None:
        raise ImportError(f"there is no {PACKED} beside {__file__}")
    sys.meta_path.insert(0, PackedModules(json.loads(bz2.decompress(packed))))
    from keeper.__main__ import main

    main()


if __name__ == "__main__":
    start()
