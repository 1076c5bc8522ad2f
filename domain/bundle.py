"""A node's files as one archive, for machines that are set up over SSH. Owns the archive's bytes: equal files give
equal bytes (POSIX ustar, root's, no times).
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

from domain.node_files import NodeFile


def tar_bundle(files: Sequence[NodeFile]) -> bytes:
    """An uncompressed tar to be unpacked in ``/``. It holds secrets: send it over standard input, not as an
    argument.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in sorted(files, key=lambda node_file: node_file.path):
            content = file.content.encode()
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size = len(content)
            entry.mode = file.mode
            entry.mtime = 0
            entry.uname = entry.gname = "root"
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
