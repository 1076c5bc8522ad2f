"""The archive's own way of importing."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterator

import pytest

from domain.keeper import PROGRAM_PACKED
from keeper import archive
from keeper.archive import PackedModules

SOURCES = {
    "packed/__init__.py": "from packed.inner import two\n",
    "packed/inner.py": "two = 2\n\n\ndef fail() -> None:\n    raise ValueError('inside')  # here\n",
}


@pytest.fixture
def packed() -> Iterator[PackedModules]:
    modules = PackedModules(SOURCES)
    sys.meta_path.insert(0, modules)
    yield modules
    sys.meta_path.remove(modules)
    for name in [name for name in sys.modules if name.partition(".")[0] == "packed"]:
        del sys.modules[name]


class TestPackedModules:
    @pytest.mark.usefixtures("packed")
    def test_a_package_and_what_is_in_it(self) -> None:
        assert importlib.import_module("packed").two == 2
        assert importlib.import_module("packed.inner").__file__ == "packed/inner.py"

    @pytest.mark.usefixtures("packed")
    def test_a_traceback_shows_the_line(self) -> None:
        with pytest.raises(ValueError, match="inside") as raised:
            importlib.import_module("packed.inner").fail()
        shown = "".join(traceback.format_exception(raised.value))
        assert "File \"packed/inner.py\", line 5, in fail\n    raise ValueError('inside')  # here\n" in shown

    @pytest.mark.usefixtures("packed")
    @pytest.mark.parametrize("name", ["packed.other", "packed.inner.more"])
    def test_what_is_not_in_it(self, name: str) -> None:
        with pytest.raises(ModuleNotFoundError, match=name):
            importlib.import_module(name)

    def test_it_leaves_others_alone(self, packed: PackedModules) -> None:
        assert packed.find_spec("json") is None
        with pytest.raises(ImportError, match=r"^there is no 'packed/other\.py' in the archive$"):
            packed.get_source("packed.other")


def test_what_is_written_is_what_is_read() -> None:
    assert archive.PACKED == PROGRAM_PACKED
