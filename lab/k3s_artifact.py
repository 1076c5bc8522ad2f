"""The k3s artifact: the stand-in's package (:mod:`lab.standins.k3s`) in one file that a machine runs as it is.

A zip archive behind a first line that names the interpreter, as :mod:`zipapp` makes them. Its bytes depend on the
sources alone, never on the time, the order of a directory or the version of a compressor: the settings of every cluster
hold its checksum, and another checksum makes `up` install k3s again.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

INTERPRETER: Final = "/usr/bin/python3"
PACKAGE: Final = Path(__file__).resolve().parent / "standins" / "k3s"

_MODULES_BELOW: Final = "lab/standins/k3s"
"""The package keeps its name in the archive, so that its imports are those of the checkout."""
_FIRST_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip archive can name."""


def pack(package: Path = PACKAGE, *, architecture: str = "amd64") -> bytes:
    """The executable file made of the modules in ``package``; its ``__main__.py`` is what runs. Python runs it on any
    machine, so of what real k3s has for each architecture it only has that the files, and their checksums, differ.
    """
    modules = {path.name: path.read_bytes() for path in sorted(package.glob("*.py"))}
    files = {
        "__main__.py": modules["__main__.py"],
        # The packages above it, empty: their own docstrings are no part of k3s.
        "lab/__init__.py": b"",
        "lab/standins/__init__.py": b"",
        **{f"{_MODULES_BELOW}/{name}": content for name, content in modules.items() if name != "__main__.py"},
    }
    buffer = io.BytesIO()
    buffer.write(f"#!{INTERPRETER}\n".encode())
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _FIRST_TIME)
            member.create_system = 3  # Unix, wherever it is packed.
            member.external_attr = 0o644 << 16
            archive.writestr(member, files[name])
        if architecture != "amd64":
            archive.comment = architecture.encode()
    return buffer.getvalue()
