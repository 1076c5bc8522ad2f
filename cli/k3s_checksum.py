"""`./isthmus k3s-checksum`: the lines of a stack file for a k3s release, with the checksum that the release tells.

Whoever can change what the release or the mirror says can change the checksum as well; it is written into the stack
file once, and from then on every node refuses another file.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Final

from rich.text import Text

from cli import console
from cli.errors import cannot
from domain.k3s_release import BINARIES, CHECKSUMS, checksum_in, release_url
from domain.problems import shown
from domain.starter_text import K3S_VERSION
from domain.values import services
from domain.values.releases import k3s_version
from domain.values.rule_error import RuleError
from domain.yaml_words import word

DEADLINE_SECONDS: Final = 20.0
"""For each answer of the server, not for all of it."""
SIZE_LIMIT: Final = 64 * 1024
"""Bytes of such a list; k3s's have some 400."""
WRONG_USAGE: Final = 2
SETTINGS: Final = {"amd64": "sha256", "arm64": "sha256_arm64"}
"""Where a stack file has the checksum for each architecture."""
_MACHINES: Final = {"amd64": "x86-64", "arm64": "Arm"}


def k3s_checksum(version: str | None, mirror: str | None, *, arm64: bool = False) -> int:
    """Prints version and checksum as a stack file has them below ``isthmus:k3s``, with ``arm64`` also the checksum for
    Arm servers.
    """
    try:
        release = k3s_version(version or K3S_VERSION)
    except RuleError as broken:
        return _wrong_usage(f"{shown(version)} {broken.rule}; {broken.fix or f'write it like {K3S_VERSION}'}.")
    try:
        base = None if mirror is None else services.url(mirror)
    except RuleError as broken:
        value = "" if broken.hide_value else f" {shown(mirror)}"
        return _wrong_usage(f"--mirror{value} {broken.rule}; {broken.fix or 'write it like https://HOST/k3s'}.")
    checksums = {
        architecture: _checksum(release, architecture, base)
        for architecture in (["amd64", "arm64"] if arm64 else ["amd64"])
    }
    out = console.results()
    out.print(Text(f"    version: {release}"))
    for architecture, checksum in checksums.items():
        out.print(Text(f"    {SETTINGS[architecture]}: {word(checksum)}"))
    return 0


def _checksum(release: str, architecture: str, mirror: str | None) -> str:
    url, file = release_url(release, CHECKSUMS[architecture], mirror), BINARIES[architecture]
    checksum = checksum_in(_downloaded(url, release, architecture), file)
    if checksum is None:
        cannot(f"{url} has no line with the checksum of the file {file}; is it what a release of k3s has?")
    return checksum


def _wrong_usage(text: str) -> int:
    console.messages().print(Text.assemble(("error: ", "bold red"), text))
    return WRONG_USAGE


def _downloaded(url: str, release: str, architecture: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
            content: bytes = answer.read(SIZE_LIMIT + 1)
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_FOUND:
            cannot(f"there is no {url}: no release {release}, or none of it for {_MACHINES[architecture]} there.")
        cannot(f"{url} answers {error.code} {error.reason}; try again later, or name a mirror with --mirror.")
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        cannot(
            f"{url} can't be reached ({said}). Name a mirror with --mirror, or read that file where there is a "
            f"network: the checksum is in its line `{BINARIES[architecture]}`."
        )
    if len(content) > SIZE_LIMIT:
        cannot(f"{url} is no list of checksums: it has more than {SIZE_LIMIT} bytes.")
    return content.decode("utf-8", errors="replace")
