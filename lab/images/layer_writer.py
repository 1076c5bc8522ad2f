"""The members of a layer's archive: files of ours, and those of Debian packages less what no image needs."""

from __future__ import annotations

import io
import posixpath
import subprocess
import tarfile
from pathlib import Path
from typing import IO, Final

from lab.images.model import LayerRecipe
from lab.images.recipes import UNUSED_PATHS


class LayerWriter:
    """Writes members with neither times nor names of users, each path once: the first one wins.

    Paths are those of a merged /usr: what a package has below /bin, /sbin or /lib goes below /usr.
    """

    def __init__(self, tar: tarfile.TarFile, recipe: LayerRecipe) -> None:
        self._tar = tar
        self._without = (*UNUSED_PATHS, *recipe.without)
        self._only = recipe.only
        self._seen: set[str] = set()

    def directory(self, name: str, mode: int = 0o755) -> None:
        """A directory, and those above it."""
        if name in self._seen or not name:
            return
        self._parents(name)
        member = self._member(name, tarfile.DIRTYPE, mode)
        self._tar.addfile(member)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        if name in self._seen:
            return
        self._parents(name)
        member = self._member(name, tarfile.SYMTYPE, 0o777)
        member.linkname = target
        self._tar.addfile(member)

    def file(self, name: str, source: Path, mode: int) -> None:
        """A copy of a file."""
        with source.open("rb") as content:
            self._regular(name, content, source.stat().st_size, mode)

    def text(self, name: str, text: str, mode: int) -> None:
        """A file with this text."""
        data = text.encode()
        self._regular(name, io.BytesIO(data), len(data), mode)

    def package(self, archive: Path) -> None:
        """What a Debian package would install, less what no image needs."""
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as members:
                for member in members:
                    self._package_member(members, member)
            # Else dpkg-deb waits for a reader of the padding.
            while process.stdout.read(1 << 16):
                pass
        if process.returncode != 0:
            raise RuntimeError(f"dpkg-deb --fsys-tarfile {archive.name} ended with code {process.returncode}")

    def _package_member(self, members: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = merged_path(member.name)
        if not name or name in self._seen or not self._wanted(name, member.isdir()):
            return
        if member.isdir():
            self.directory(name, member.mode & 0o7777)
            return
        self._parents(name)
        fresh = self._member(name, member.type, member.mode & 0o7777)
        fresh.uid, fresh.gid = member.uid, member.gid
        if member.islnk():
            fresh.linkname = merged_path(member.linkname)
            self._tar.addfile(fresh)
        elif member.issym():
            fresh.linkname = member.linkname
            self._tar.addfile(fresh)
        elif member.isreg():
            fresh.size = member.size
            self._tar.addfile(fresh, members.extractfile(member))

    def _wanted(self, name: str, is_directory: bool) -> bool:
        path = f"{name}/" if is_directory else name
        if any(path == pattern or (pattern.endswith("/") and path.startswith(pattern)) for pattern in self._without):
            return False
        # Directories come with the files in them.
        return not self._only or (not is_directory and path.startswith(self._only))

    def _regular(self, name: str, content: IO[bytes], size: int, mode: int) -> None:
        if name in self._seen:
            return
        self._parents(name)
        member = self._member(name, tarfile.REGTYPE, mode)
        member.size = size
        self._tar.addfile(member, content)

    def _parents(self, name: str) -> None:
        parent = posixpath.dirname(name)
        if parent:
            self.directory(parent)

    def _member(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        self._seen.add(name)
        member = tarfile.TarInfo(name)
        member.type = kind
        member.mode = mode
        return member


_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def merged_path(name: str) -> str:
    """A package's path, relative and with /usr merged: ``./bin/ls`` is ``usr/bin/ls``; empty for the root itself."""
    path = posixpath.normpath(name).lstrip("/")
    if path == ".":
        return ""
    first = path.partition("/")[0]
    return f"usr/{path}" if first in _MERGED else path
