"""A release of k3s: where its files are, and what its list of checksums says of them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

GITHUB_RELEASES: Final = "https://github.com/k3s-io/k3s/releases/download"
BINARIES: Final = {"amd64": "k3s", "arm64": "k3s-arm64"}
"""What a release calls the binary for each architecture."""
CHECKSUMS: Final = {"amd64": "sha256sum-amd64.txt", "arm64": "sha256sum-arm64.txt"}
"""And the list of its files for each, in the form of sha256sum(1)."""
_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *]([^ ]+)", re.ASCII)


def release_url(version: str, file: str, mirror: str | None = None) -> str:
    """Where the file of that release is. A mirror has a directory for each version (``mirrors.k3s``)."""
    return f"{mirror}/{version}/{file}" if mirror else f"{GITHUB_RELEASES}/{quote(version, safe='')}/{file}"


def checksum_in(listed: str, file: str) -> str | None:
    """The checksum of this very file in a list as sha256sum(1) writes it, None where the list does not have it."""
    found = (_LINE.fullmatch(line.strip()) for line in listed.splitlines())
    return next((line[1] for line in found if line and line[2] == file), None)
