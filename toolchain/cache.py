"""Where artifacts lie, and how they come there: whole or not at all, and by one process at a time.

An artifact is a directory ``<root>/<group>/<key>/`` with a file ``artifact.json`` that is written last. Work happens
in a directory beside it whose name starts with ``.partial-``; a rename makes it an artifact. A process that is killed
leaves a partial directory, which the next one removes, and a lock that the kernel has already released.

This module knows nothing of tools, Go or Pulumi.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from toolchain.errors import SettingError, ToolchainError

MANIFEST = "artifact.json"
_PARTIAL = ".partial-"
KEPT_KEYS = 2
"""Keys of one group that stay: the newest, and one more for a second working copy or a branch switched back."""


def root(environment: Mapping[str, str] = os.environ) -> Path:
    """The cache: ``$ISTHMUS_CACHE``, else ``$XDG_CACHE_HOME/isthmus``, else ``~/.cache/isthmus``. It may not exist."""
    for name, below in (("ISTHMUS_CACHE", "."), ("XDG_CACHE_HOME", "isthmus")):
        value = environment.get(name, "")
        if not value:
            continue
        path = Path(value).expanduser()
        if not path.is_absolute():
            raise SettingError(f"{name} is {value!r}; it must be an absolute path.")
        return path / below
    return Path("~/.cache/isthmus").expanduser()


def is_complete(artifact: Path) -> bool:
    """True when the directory was finished by :func:`publish`."""
    return (artifact / MANIFEST).is_file()


def read_manifest(artifact: Path) -> dict[str, object]:
    """What :func:`publish` was told about the artifact."""
    manifest: dict[str, object] = json.loads((artifact / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def touch(artifact: Path) -> None:
    """Marks the artifact as used now; :func:`prune` keeps what was used last. A read-only cache is no error."""
    with contextlib.suppress(OSError):
        os.utime(artifact / MANIFEST)


@contextlib.contextmanager
def lock(group: Path, *, on_wait: Callable[[str], None], poll_seconds: float = 0.2) -> Iterator[None]:
    """Holds the group for this process; ``on_wait`` is called once, with who holds it, when that is someone else.

    The lock is the kernel's (flock), so it ends with its holder, whatever ends that.
    """
    group.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(group / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        told = False
        for attempt in itertools.count():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # The holder needs a moment to write its name down after it got the lock.
                holder = _holder(descriptor)
                if not told and (holder or attempt > 0):
                    told = True
                    on_wait(holder or "another process")
                time.sleep(poll_seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} ({_command()}), since {time.strftime('%H:%M:%S')}".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _command() -> str:
    program = Path(sys.argv[0])
    # Under `python -m PACKAGE` the program is PACKAGE/__main__.py.
    name = program.parent.name if program.name == "__main__.py" else program.name
    return " ".join([name, *sys.argv[1:]])[:200]


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 400, 0).decode(errors="replace").strip()


def publish(
    group: Path, key: str, work: Callable[[Path], Mapping[str, object]], *, required: tuple[str, ...] = ()
) -> Path:
    """Calls ``work`` with an empty directory and makes that the artifact ``group/key``, which it returns.

    The caller holds the group's :func:`lock`. ``work`` returns what the manifest says about the artifact; ``required``
    are the paths that must be there when it ends. On any error nothing is left, and an artifact that was there before
    stays.
    """
    _sweep(group)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=group))
    try:
        partial.chmod(0o755)
        manifest = {"key": key, **work(partial)}
        missing = [name for name in required if not (partial / name).exists()]
        if missing:
            raise ToolchainError(f"{group.name}: {', '.join(missing)} should have been made and is not there.")
        text = json.dumps(manifest, indent=2, sort_keys=True)
        (partial / MANIFEST).write_text(f"{text}\n", encoding="utf-8")
        artifact = group / key
        if artifact.exists():
            # A rename can't replace a directory that has content; what is moved aside goes with the sweep.
            artifact.rename(group / f"{_PARTIAL}old-{key}")
        partial.rename(artifact)
        return artifact
    finally:
        _sweep(group)


def ensure(
    group: Path,
    key: str,
    work: Callable[[Path], Mapping[str, object]],
    *,
    required: tuple[str, ...] = (),
    on_wait: Callable[[str], None],
    on_made: Callable[[Path], None],
) -> Path:
    """The artifact ``group/key``, made by ``work`` as of :func:`publish` where it is not there, and older ones of its
    group go then (:func:`prune`). It is marked as used now. ``on_wait`` as of :func:`lock`; ``on_made`` is called with
    one that was made.
    """
    artifact = group / key
    if not is_complete(artifact):
        with lock(group, on_wait=on_wait):
            if not is_complete(artifact):
                publish(group, key, work, required=required)
                prune(group, current=key)
                on_made(artifact)
    touch(artifact)
    return artifact


def _sweep(group: Path) -> None:
    for partial in group.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


def prune(group: Path, *, current: str, kept: int = KEPT_KEYS) -> list[str]:
    """Removes all but the ``kept`` artifacts used last, of which ``current`` is always one; returns the removed keys.

    The caller holds the group's :func:`lock`.
    """
    others = [path for path in group.iterdir() if path.name != current and is_complete(path)]
    others.sort(key=lambda path: (path / MANIFEST).stat().st_mtime, reverse=True)
    removed = others[kept - 1 :]
    for path in removed:
        # First out of sight in one step, so that nobody finds half of it.
        path.rename(group / f"{_PARTIAL}old-{path.name}")
    _sweep(group)
    return [path.name for path in removed]


def place(source: Path, target: Path, *, mode: int | None = None) -> None:
    """Puts a file at ``target`` as a hard link, or as a copy when it lies on another file system or needs another mode.

    Never a symlink: the Pulumi CLI resolves those and looks for its neighbours where they point to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if mode is None or (source.stat().st_mode & 0o777) == mode:
        try:
            os.link(source.resolve(), target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)
    target.chmod((source.stat().st_mode & 0o777) if mode is None else mode)
