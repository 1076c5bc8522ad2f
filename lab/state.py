"""The state directory of the lab, who has it, and taking a lab down.

One lab can be up on a machine. Everything that a running lab keeps lies below :data:`STATE`; what it makes outside of
that directory (network namespaces, changed kernel settings) is recorded there before it is made, and only what is
recorded is undone. So a lab can be taken down from any half state, by another process than the one that raised it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import cgroups
from lab.commands import run
from lab.errors import CommandFailed, LabInUse
from lab.topology import PREFIX

STATE = Path("/var/lib/isthmus-lab")
NETNS_DIRECTORY = Path("/run/netns")
RECORD = "lab.json"

SHARED_SETTINGS = (
    "fs/file-max",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "fs/nr_open",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/pid_max",
    "kernel/printk",
    "vm/max_map_count",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""Kernel settings that no namespace separates and that systemd, kubelet or the lab itself change; they are put back."""

RAISED_SETTINGS = {"fs/inotify/max_user_instances": 1024, "fs/inotify/max_user_watches": 524288}
"""All machines share root's inotify instances: with Debian's 128 the third kubelet finds none left."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """The record of a lab."""

    checkout: str
    pid: int
    """The process that raised it; it may have ended long ago."""
    started: str
    boot_id: str
    namespaces: tuple[str, ...] = ()
    """Network namespaces that the lab has made, or was about to make."""
    made_netns_directory: bool = False
    """True when there was no /run/netns before: `ip netns add` makes it, and mounts it on itself."""
    settings: dict[str, str] = field(default_factory=dict)
    """Kernel settings as they were."""

    @property
    def of_this_boot(self) -> bool:
        """False when the host was booted again since: of the lab only the files are left."""
        return self.boot_id == _boot_id()


def read() -> Lab | None:
    """The record of the lab that is up, or was not taken down."""
    record = read_json(STATE / RECORD)
    return None if record is None else Lab(**{**record, "namespaces": tuple(record["namespaces"])})


def claim(checkout: Path) -> Lab:
    """Makes this machine's lab ours, or returns our record if it is already.

    Raises :class:`~lab.errors.LabInUse` when another checkout's lab is up, or when network namespaces of a lab are
    there that nothing records.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with locked():
        lab = read()
        if lab is not None:
            if lab.checkout != str(checkout):
                raise LabInUse(
                    f"The lab of {lab.checkout} is up since {lab.started} (process {lab.pid}); one lab at a time "
                    f"fits on a machine. Take it down with `./isthmus lab down` first."
                )
            if not lab.of_this_boot:
                raise LabInUse("A lab from before this machine's last boot was not taken down: `./isthmus lab down`.")
        else:
            lab = _new(checkout)
            _write(lab)
    # Of a lab that is there as well: whoever recorded it may have been killed before this.
    STATE.chmod(0o700)
    for name, least in RAISED_SETTINGS.items():
        if int(lab.settings.get(name, least)) < least:
            _setting(name).write_text(str(least))
    return lab


def _new(checkout: Path) -> Lab:
    foreign = sorted(path.name for path in NETNS_DIRECTORY.glob(f"{PREFIX}*"))
    if foreign:
        raise LabInUse(
            f"The network namespaces {', '.join(foreign)} are there, and no lab records them. If nothing of yours "
            f"needs them: ip netns delete NAME"
        )
    return Lab(
        checkout=str(checkout),
        pid=os.getpid(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        boot_id=_boot_id(),
        made_netns_directory=not NETNS_DIRECTORY.exists(),
        settings={name: _setting(name).read_text().strip() for name in SHARED_SETTINGS if _setting(name).exists()},
    )


def record_namespace(name: str) -> None:
    """Notes that the lab is about to make the network namespace ``name``; call it before making it."""
    with locked():
        lab = _require()
        if name not in lab.namespaces:
            _write(replace(lab, namespaces=(*lab.namespaces, name)))


def forget_namespace(name: str) -> None:
    """Notes that the network namespace is gone; call it after deleting it."""
    with locked():
        lab = _require()
        _write(replace(lab, namespaces=tuple(known for known in lab.namespaces if known != name)))


def _require() -> Lab:
    lab = read()
    if lab is None:
        raise LabInUse("No lab is up, so there is nothing to record in; claim() comes first.")
    return lab


def _write(lab: Lab) -> None:
    write_json(STATE / RECORD, asdict(lab))


@contextlib.contextmanager
def locked(name: str = ".lock") -> Iterator[None]:
    """Holds a lock in the state directory; the kernel releases it when its holder ends. Not re-entrant."""
    STATE.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(STATE / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Held by whoever raises the lab or takes it down; raises :class:`~lab.errors.LabInUse` when someone else does.

    The lock is on the state directory itself, so that no lock file is left when the directory goes.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(STATE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabInUse("A lab is being raised or taken down by someone else just now; wait for its end.") from None
        if not STATE.is_dir() or os.fstat(descriptor).st_ino != STATE.stat().st_ino:
            raise LabInUse("A lab was taken down this very moment; try again.")
        yield
    finally:
        os.close(descriptor)


def teardown(report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Ends and removes everything of the lab; returns what is left in spite of that, empty when all is well.

    Works from any half state and may be repeated. It never touches what the lab did not make: processes are those in
    the lab's control groups, namespaces those of the record, mounts and files those below the state directory.
    """
    lab = read()
    report("processes")
    cgroups.kill()
    report("mounts")
    # A file system that somebody has mounted at the directory itself is theirs: the lab mounts below it only.
    unmount_below(STATE, itself=False)
    inodes = {}
    if lab is not None:
        report("network namespaces")
        for name in lab.namespaces:
            path = NETNS_DIRECTORY / name
            with contextlib.suppress(OSError):
                inodes[path.stat().st_ino] = name
            if path.exists():
                with contextlib.suppress(CommandFailed):
                    run(["ip", "netns", "delete", name])
        if lab.made_netns_directory:
            _remove_netns_directory()
        report("kernel settings")
        if lab.of_this_boot:
            for name, value in lab.settings.items():
                with contextlib.suppress(OSError):
                    if _setting(name).read_text().strip() != value:
                        _setting(name).write_text(value)
    report("control groups and files")
    cgroups.leave()
    cgroups.remove()
    users = [f"{user} still uses the network namespace {inodes[inode]}" for inode, user in _users(set(inodes))]
    if not _mounts_below(STATE, itself=False):
        shutil.rmtree(STATE, ignore_errors=True)
    return [*users, *leftovers()]


def leftovers() -> list[str]:
    """What of a lab is there, a line each; empty after a complete :func:`teardown`."""
    found = [f"process {pid} ({_command(pid)})" for pid in sorted(cgroups.processes())]
    found += [f"mount {path}" for path in _mounts_below(STATE, itself=False)]
    found += [f"process {pid} ({_command(pid)}) with a machine's file system" for pid in _in_machines()]
    found += [f"network namespace {path.name}" for path in sorted(NETNS_DIRECTORY.glob(f"{PREFIX}*"))]
    found += [f"network interface {name} of the host" for name in _links()]
    found += [f"control group {path}" for path in cgroups.existing()]
    found += [f"directory {STATE}"] if STATE.exists() and not _is_bare_mount(STATE) else []
    return found


def _is_bare_mount(directory: Path) -> bool:
    """Whether it is somebody's empty file system, which can't be removed like a directory."""
    return directory in _mounts_below(directory) and not any(directory.iterdir())


def unmount_below(directory: Path, *, itself: bool = True) -> None:
    """Unmounts everything below the directory in this mount namespace, and at it with ``itself``; the last mounted
    first.
    """
    for _ in range(3):
        mounts = _mounts_below(directory, itself=itself)
        if not mounts:
            return
        for path in reversed(mounts):
            with contextlib.suppress(CommandFailed):
                run(["umount", str(path)])
    for path in reversed(_mounts_below(directory, itself=itself)):
        with contextlib.suppress(CommandFailed):
            run(["umount", "--lazy", str(path)])


def _mounts_below(directory: Path, *, itself: bool = True) -> list[Path]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[4]))
        if directory in path.parents or (itself and path == directory):
            found.append(path)
    return found


def _remove_netns_directory() -> None:
    """Removes /run/netns when it is empty: other namespaces may have come since."""
    if not NETNS_DIRECTORY.is_dir() or any(NETNS_DIRECTORY.iterdir()):
        return
    while NETNS_DIRECTORY in _mounts_below(NETNS_DIRECTORY):
        try:
            run(["umount", str(NETNS_DIRECTORY)])
        except CommandFailed:
            return
    with contextlib.suppress(OSError):
        NETNS_DIRECTORY.rmdir()


def _users(inodes: set[int]) -> list[tuple[int, str]]:
    """Processes in these network namespaces: (inode, description)."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
            if inode in inodes and pid != os.getpid():
                found.append((inode, f"process {pid} ({_command(pid)})"))
    return found


def _in_machines() -> list[int]:
    """Processes that have a machine's root mounted, in whatever mount namespace; those of another lab are not ours.

    A lab in a container has its state directory under the same name, so the mount alone does not tell.
    """
    found = []
    marker = f"upperdir={STATE}/"
    for pid in _pids():
        with contextlib.suppress(OSError):
            if marker in Path(f"/proc/{pid}/mounts").read_text() and not cgroups.of_another_lab(pid):
                found.append(pid)
    return found


def _links() -> list[str]:
    """Interfaces of the host's own network namespace that have the lab's alias; there should never be one."""
    shown = json.loads(run(["ip", "-json", "link", "show"]))
    return [link["ifname"] for link in shown if str(link.get("ifalias", "")).startswith(PREFIX)]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_json(path: Path) -> Any:
    """The content of a JSON file; None when there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all, readable by root only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")
    partial.rename(path)
