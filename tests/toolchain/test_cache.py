"""Artifacts are whole or absent, and one process at a time makes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from toolchain import SettingError, ToolchainError, cache
from toolchain.recipes import REPOSITORY

DEADLINE_SECONDS = 20.0

HOLDER = """
import sys, time
from pathlib import Path
from toolchain import cache

def work(target):
    (target / "half").write_text("half")
    print("working", flush=True)
    time.sleep(600)

group = Path(sys.argv[1])
with cache.lock(group, on_wait=print):
    cache.publish(group, "key", work)
"""


@pytest.fixture
def group(cache_root: Path) -> Path:
    path = cache_root / "tools" / "tool"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def holder(group: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of making ``group/key``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(group)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        yield process
        process.kill()


def write(target: Path) -> Mapping[str, object]:
    (target / "file").write_text("content")
    return {"version": "1"}


def visible(group: Path) -> list[str]:
    return sorted(path.name for path in group.iterdir() if path.name != ".lock")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ISTHMUS_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/isthmus")),
        ({"ISTHMUS_CACHE": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache/isthmus"),
        ({"ISTHMUS_CACHE": "~/c"}, Path.home() / "c"),
    ],
)
def test_root(environment: dict[str, str], expected: Path) -> None:
    assert cache.root(environment) == expected


def test_a_relative_cache_is_refused() -> None:
    with pytest.raises(SettingError) as raised:
        cache.root({"ISTHMUS_CACHE": "cache"})
    assert str(raised.value) == "ISTHMUS_CACHE is 'cache'; it must be an absolute path."


def test_publish_makes_the_artifact_with_its_manifest(group: Path) -> None:
    artifact = cache.publish(group, "key", write, required=("file",))
    assert artifact == group / "key"
    assert (artifact / "file").read_text() == "content"
    assert cache.is_complete(artifact)
    assert cache.read_manifest(artifact) == {"key": "key", "version": "1"}
    assert visible(group) == ["key"]


def test_a_failure_leaves_nothing_and_keeps_what_was_there(group: Path) -> None:
    cache.publish(group, "key", write)

    def fail(target: Path) -> Mapping[str, object]:
        (target / "file").write_text("half")
        raise ValueError("broken")

    with pytest.raises(ValueError, match=r"^broken$"):
        cache.publish(group, "key", fail)
    assert visible(group) == ["key"]
    assert (group / "key/file").read_text() == "content"


def test_a_missing_file_is_a_failure(group: Path) -> None:
    with pytest.raises(ToolchainError) as raised:
        cache.publish(group, "key", write, required=("file", "other", "third"))
    assert str(raised.value) == "tool: other, third should have been made and is not there."
    assert visible(group) == []


def test_publish_replaces_a_damaged_artifact(group: Path) -> None:
    (group / "key").mkdir()
    (group / "key/rest").touch()
    cache.publish(group, "key", write)
    assert sorted(path.name for path in (group / "key").iterdir()) == ["artifact.json", "file"]


def test_prune_keeps_the_current_and_the_last_used(group: Path) -> None:
    for number, key in enumerate(("first", "second", "third", "current")):
        cache.publish(group, key, write)
        os.utime(group / key / cache.MANIFEST, (number, number))
    os.utime(group / "current" / cache.MANIFEST, (0, 0))
    cache.touch(group / "first")
    assert sorted(cache.prune(group, current="current")) == ["second", "third"]
    assert visible(group) == ["current", "first"]


def test_a_second_process_waits_and_hears_for_whom(group: Path, holder: subprocess.Popen[str]) -> None:
    heard: list[str] = []
    waits, entered = threading.Event(), threading.Event()

    def hear(who: str) -> None:
        heard.append(who)
        waits.set()

    def wait() -> None:
        with cache.lock(group, on_wait=hear, poll_seconds=0.01):
            entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(DEADLINE_SECONDS), "nobody waits for the holder"
    assert not entered.wait(0.3)
    holder.kill()
    assert entered.wait(DEADLINE_SECONDS), "the lock should end with its holder"
    thread.join()
    assert len(heard) == 1
    assert heard[0].startswith(f"process {holder.pid} (-c {group}), since ")


def test_a_process_killed_in_the_middle_leaves_no_artifact(group: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not (group / "key").exists()
    assert [name for name in visible(group) if not name.startswith(".partial-")] == []
    start = time.monotonic()
    with cache.lock(group, on_wait=lambda who: pytest.fail(f"waited for {who}")):
        cache.publish(group, "key", write)
    assert time.monotonic() - start < DEADLINE_SECONDS
    assert visible(group) == ["key"]


def test_place_links_where_it_can_and_copies_where_the_mode_differs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("content")
    source.chmod(0o755)
    cache.place(source, tmp_path / "a/link", mode=0o755)
    cache.place(source, tmp_path / "a/copy", mode=0o700)
    assert (tmp_path / "a/link").samefile(source)
    assert not (tmp_path / "a/copy").samefile(source)
    assert (tmp_path / "a/copy").stat().st_mode & 0o777 == 0o700
    assert source.stat().st_mode & 0o777 == 0o755


def test_place_never_makes_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("content")
    (tmp_path / "name").symlink_to("real")
    cache.place(tmp_path / "name", tmp_path / "target")
    assert not (tmp_path / "target").is_symlink()
    assert (tmp_path / "target").samefile(tmp_path / "real")


def test_what_is_there_is_not_made_again_and_what_was_used_last_stays(tmp_path: Path) -> None:
    said: list[str] = []

    def work(partial: Path) -> dict[str, object]:
        (partial / "file").write_text("made")
        return {}

    def ensured(key: str) -> Path:
        return cache.ensure(
            tmp_path / "group",
            key,
            work,
            required=("file",),
            on_wait=lambda holder: said.append(f"wait for {holder}"),
            on_made=lambda made: said.append(f"made {made.name}"),
        )

    first = ensured("first")
    assert (first / "file").read_text() == "made"
    ensured("second")
    for number, key in enumerate(("first", "second"), 1):
        os.utime(tmp_path / "group" / key / cache.MANIFEST, (number, number))
    ensured("first")
    ensured("third")
    assert said == ["made first", "made second", "made third"]
    assert visible(tmp_path / "group") == ["first", "third"]
