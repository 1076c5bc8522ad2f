"""The stack files of a directory, read with care: whatever lies there under such a name ends in a text or a reason.

The one module of the domain that reads files: the program and the command line have to see the same files the same
way. It owns no meaning of what it reads.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from domain.project_file import PROJECT_FILES, ProjectFile
from domain.stack_file import SIZE_LIMIT, Unreadable, read_project_file, stack_file_name, too_large

PREFIX, SUFFIX = stack_file_name("\0").split("\0")

_REASONS: Final = {
    errno.ELOOP: ("is a symbolic link that leads round in a circle", "put a file there, or remove it"),
    errno.ENOENT: ("is a symbolic link to nothing", "put a file there, or remove it"),
    errno.EACCES: ("may not be read by this user", "give the permission to read it"),
}


def read_stack_files(directory: Path) -> dict[str, str | Unreadable]:
    """Every stack file of the project in the directory by its stack's name, sorted; ``stackConfigDir`` of the project
    file says where they lie. Raises OSError when they can't be listed.
    """
    project = read_project(directory)
    directory /= project.stack_directory.lstrip("/")
    names = sorted(path.name for path in directory.iterdir())
    files = {stack: _read(directory / name) for name in names if (stack := _stack_of(name, project.suffix))}
    for name in names:
        for suffix in _SUFFIXES:
            if suffix != project.suffix and (stack := _stack_of(name, suffix)) and stack not in files:
                files[stack] = Unreadable(
                    "is not read by Pulumi", f"rename it to {PREFIX}{stack}{project.suffix}", name=name
                )
    return dict(sorted(files.items()))


_SUFFIXES: Final = (SUFFIX, ".yml", ".YAML", ".yaml.txt", ".json")
"""Endings that people give a stack file. Pulumi reads those with the ending of the project file."""


def read_project(directory: Path) -> ProjectFile:
    """What the project file in the directory says of the stack files."""
    for name in PROJECT_FILES:
        if (path := directory / name).is_file():
            return read_project_file(_read(path), path.suffix)
    return ProjectFile()


def _stack_of(name: str, suffix: str) -> str:
    """The stack of a file with this ending, empty where it is no such file."""
    found = name.startswith(PREFIX) and name.endswith(suffix)
    return name[len(PREFIX) : -len(suffix)] if found else ""


def _read(path: Path) -> str | Unreadable:
    try:
        # Non-blocking: a named pipe must not make us wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                return Unreadable("is a directory", "put a file there, or remove it")
            if not stat.S_ISREG(found.st_mode):
                return Unreadable("is not a regular file", "put a file there, or remove it")
            if found.st_size > SIZE_LIMIT:
                return too_large(found.st_size)
            content = _all_of(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        rule, fix = _REASONS.get(error.errno or 0, (f"can't be read ({os.strerror(error.errno or 0)})", "look at it"))
        return Unreadable(rule, fix)
    return decoded(content)


def decoded(content: bytes) -> str | Unreadable:
    """The text of a file with this content."""
    if len(content) > SIZE_LIMIT:
        return too_large(len(content))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return Unreadable("is UTF-16 text", "save it as UTF-8")
        return Unreadable("is not UTF-8 text", "save it as UTF-8", content[: error.start].count(b"\n") + 1)


def _all_of(descriptor: int) -> bytes:
    """The content up to one byte over the limit."""
    content = b""
    while len(content) <= SIZE_LIMIT and (part := os.read(descriptor, SIZE_LIMIT + 1 - len(content))):
        content += part
    return content
