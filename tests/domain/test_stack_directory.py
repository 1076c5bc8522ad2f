"""Whatever lies under the name of a stack file, reading it ends soon, in a text or in a reason."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.fleet import check_files
from domain.stack_directory import decoded, read_stack_files
from domain.stack_file import SIZE_LIMIT, Unreadable
from tests.domain.samples import DE, MN, text
from tests.domain.test_stack_file import BOMB


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 1024 * 1024)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


LIMIT = f"bytes; a stack file has at most {SIZE_LIMIT}; is it the right file?"
ODD: list[tuple[str, Callable[[Path], object], str]] = [
    ("a symlink loop", loop, "is a symbolic link that leads round in a circle; put a file there, or remove it."),
    ("a dangling symlink", dangling, "is a symbolic link to nothing; put a file there, or remove it."),
    ("a directory", Path.mkdir, "is a directory; put a file there, or remove it."),
    ("a named pipe", os.mkfifo, "is not a regular file; put a file there, or remove it."),
    ("a device", endless, "is not a regular file; put a file there, or remove it."),
    ("10 MB of nothing", sparse, f"has 10485760 {LIMIT}"),
    ("10 MB of text", lambda path: path.write_bytes(b"a: b\n" * 2 * 1024 * 1024), f"has 10485760 {LIMIT}"),
    ("Latin-1", lambda path: path.write_bytes(b"config:\n  a: \xe4\n"), "is not UTF-8 text; save it as UTF-8."),
    ("UTF-16", lambda path: path.write_text("config: {}\n", encoding="utf-16"), "is UTF-16 text; save it as UTF-8."),
    ("zeros", lambda path: path.write_bytes(bytes(100)), "is not YAML: it holds a NUL byte; remove it."),
    ("billion laughs", lambda path: path.write_text(BOMB), "has an anchor or an alias (& or *)"),
    ("not YAML", lambda path: path.write_text("config: {"), "is not YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_odd_files(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    (tmp_path / "Pulumi.de.yaml").write_text(text(DE), encoding="utf-8")
    make(tmp_path / "Pulumi.mn.yaml")
    start = time.process_time()
    problems = check_files(read_stack_files(tmp_path))
    assert time.process_time() - start < 2
    (said,) = [str(problem) for problem in problems if problem.stack == "mn"]
    assert said.startswith(f"mn: Pulumi.mn.yaml {says}")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.EACCES, "may not be read by this user; give the permission to read it."),
        (errno.EIO, "can't be read (Input/output error); look at it."),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: str) -> None:
    (tmp_path / "Pulumi.mn.yaml").touch()

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)  # root, as whom the tests may run, may read everything
    (problem,) = check_files(read_stack_files(tmp_path))
    assert str(problem) == f"mn: Pulumi.mn.yaml {says}"


def test_which_files_are_stack_files(tmp_path: Path) -> None:
    for name in ("Pulumi.yaml", "Pulumi.yml", "pulumi.x.yaml", "Pulumi.x.yaml.bak", "Pulumi..yaml", "other"):
        (tmp_path / name).touch()
    (tmp_path / "Pulumi.mn.yaml").write_text(text(MN), encoding="utf-8")
    (tmp_path / "Pulumi.de.yaml").write_text(text(DE), encoding="utf-8")
    assert read_stack_files(tmp_path) == {"de": text(DE), "mn": text(MN)}


@pytest.mark.parametrize("name", ["Pulumi.mn.yml", "Pulumi.mn.YAML", "Pulumi.mn.yaml.txt", "Pulumi.mn.json"])
def test_an_ending_that_pulumi_does_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "Pulumi.de.yaml").write_text(text({**DE, "isthmus:peers": []}), encoding="utf-8")
    (tmp_path / name).write_text(text(MN), encoding="utf-8")
    said = [str(problem) for problem in check_files(read_stack_files(tmp_path))]
    assert said == [f"mn: {name} is not read by Pulumi; rename it to Pulumi.mn.yaml."]
    (tmp_path / "Pulumi.mn.yaml").write_text(text({**MN, "isthmus:peers": []}), encoding="utf-8")
    assert check_files(read_stack_files(tmp_path)) == []


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"Pulumi.\xff\n.yaml")).write_text("", encoding="utf-8")
    said = [str(problem) for problem in check_files(read_stack_files(tmp_path))]
    assert said
    for line in said:
        assert line.isprintable()
        line.encode("utf-8")


def test_the_directory_itself(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_stack_files(tmp_path / "none")
    assert read_stack_files(tmp_path) == {}


def test_the_line_of_the_wrong_byte() -> None:
    assert decoded(b"a\nb\n\xff") == Unreadable("is not UTF-8 text", "save it as UTF-8", 3)
