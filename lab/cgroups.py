"""The lab's control groups: every process of the lab is in one, so that all of them can be found and ended.

In each mounted hierarchy the lab has the group ``isthmus-lab``, with a group below it for its helpers and one for each
machine. Version 1 hierarchies, the hybrid layout and the unified version 2 are handled alike. (The unified layout is
written by its documentation and has not been tried.)
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.commands import wait_until
from lab.errors import LabError

GROUP = "isthmus-lab"
HELPERS = "helpers"
"""The group below :data:`GROUP` of everything that is no machine; never a machine's name."""

EXECUTED = "isthmus-exec"
"""The group below a machine's group for what the lab runs in the machine: version 2 wants processes in leaves only."""

WRAPPER = Path(__file__).parent / "files" / "in-cgroup"
REMOVE_DEADLINE_SECONDS = 180.0
"""For killed processes to be gone, some hundreds of a whole lab: a guard."""


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """A mounted hierarchy: where, and as what."""

    mount: Path
    version: int
    controllers: tuple[str, ...]
    """Of version 1: the mount options that name it, such as ``("cpu", "cpuacct")`` or ``("name=systemd",)``."""

    @property
    def group(self) -> Path:
        """The lab's group in it."""
        return self.mount / GROUP


_CONTROLLERS = frozenset(
    [
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "debug",
        "devices",
        "freezer",
        "hugetlb",
        "io",
        "memory",
        "misc",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "rdma",
    ]
)


def hierarchies(mounts: str | None = None) -> tuple[Hierarchy, ...]:
    """The hierarchies of this machine in the order of their mounts, each once; ``mounts`` is like /proc/mounts."""
    if mounts is None:
        mounts = Path("/proc/self/mounts").read_text()
    found: dict[tuple[int, tuple[str, ...]], Hierarchy] = {}
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 4 or fields[2] not in ("cgroup", "cgroup2"):
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if fields[2] == "cgroup2":
            hierarchy = Hierarchy(mount=mount, version=2, controllers=())
        else:
            options = fields[3].split(",")
            named = tuple(option for option in options if option in _CONTROLLERS or option.startswith("name="))
            hierarchy = Hierarchy(mount=mount, version=1, controllers=named)
        found.setdefault((hierarchy.version, hierarchy.controllers), hierarchy)
    return tuple(found.values())


def make(name: str) -> tuple[Path, ...]:
    """Makes the group ``isthmus-lab/<name>`` in every hierarchy and returns their directories."""
    made = []
    for hierarchy in hierarchies():
        current = hierarchy.mount
        for part in (GROUP, *Path(name).parts):
            if current in (hierarchy.mount, hierarchy.group):
                # Deeper ones are a machine's, and its systemd's business.
                _hand_down(hierarchy, current)
            current = current / part
            current.mkdir(exist_ok=True)
            if "cpuset" in hierarchy.controllers:
                _inherit_cpuset(current)
        made.append(current)
    if not made:
        raise LabError(
            "no cgroup hierarchy is mounted; mount one, for example: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
    return tuple(made)


def _hand_down(hierarchy: Hierarchy, directory: Path) -> None:
    """Version 2: gives the controllers of a directory to its children; a group without processes may do that."""
    if hierarchy.version != 2:
        return
    offered = (directory / "cgroup.controllers").read_text().split()
    control = directory / "cgroup.subtree_control"
    for controller in sorted(set(offered) - set(control.read_text().split())):
        # A controller that can't be handed down (real-time groups under cpu, for one) is missed by who needs it.
        with contextlib.suppress(OSError):
            control.write_text(f"+{controller}")


def _inherit_cpuset(directory: Path) -> None:
    """Version 1: a new cpuset is empty, and no process may enter an empty one."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        path = directory / name
        if path.is_file() and not path.read_text().strip():
            path.write_text((directory.parent / name).read_text())


def join() -> None:
    """Moves the calling process, and thereby all that it starts, into the group of the helpers."""
    for directory in make(HELPERS):
        (directory / "cgroup.procs").write_text(str(os.getpid()))


def leave() -> None:
    """Moves the calling process to the root of every hierarchy in which it is in a group of the lab."""
    for hierarchy in hierarchies():
        if os.getpid() in _processes(hierarchy.group):
            (hierarchy.mount / "cgroup.procs").write_text(str(os.getpid()))


def wrap(name: str, argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` in the group ``isthmus-lab/<name>``, with the same process id."""
    return [str(WRAPPER), *(str(directory) for directory in make(name)), "--", *argv]


def processes(name: str = "") -> set[int]:
    """The ids of all processes in the group ``isthmus-lab[/<name>]`` of any hierarchy, and in groups below it."""
    return {pid for hierarchy in hierarchies() for pid in _processes(hierarchy.group / name)}


def of_another_lab(pid: int) -> bool:
    """Whether the process is in a lab's group that is none of ours: that of a lab in a container or another namespace,
    which this machine's /proc shows as well.
    """
    try:
        memberships = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
    # HIERARCHY:CONTROLLERS:PATH, the path as seen from our own group.
    paths = [line.split(":", 2)[2] for line in memberships.splitlines()]
    return any(GROUP in Path(path).parts for path in paths) and pid not in processes()


def _processes(directory: Path) -> set[int]:
    found: set[int] = set()
    for group in _tree(directory):
        # A group may go away, or refuse to be read in the middle of it, while we look.
        with contextlib.suppress(OSError):
            found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
    return found - {0}


def _tree(directory: Path) -> Iterator[Path]:
    """The directory and all below it, deepest first."""
    for path, _, _ in os.walk(directory, topdown=False):
        yield Path(path)


def kill(name: str = "", *, deadline_seconds: float = REMOVE_DEADLINE_SECONDS) -> None:
    """Ends every process in the group ``isthmus-lab[/<name>]`` with SIGKILL, except the caller, and waits for it."""

    def gone() -> bool:
        alive = processes(name) - {os.getpid()}
        for pid in alive:
            _kill_member(pid)
        return not alive

    wait_until(
        gone,
        what=f"All processes in the control group {GROUP}/{name} end",
        deadline_seconds=deadline_seconds,
        state=lambda: f"process ids {sorted(processes(name))}",
    )


def _kill_member(pid: int) -> None:
    """Kills the process if it is a member still: its id may belong to another one by now."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        memberships = Path(f"/proc/{pid}/cgroup").read_text()
        if re.search(rf":/{GROUP}(/|$)", memberships, flags=re.MULTILINE):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(descriptor)


def remove(name: str = "", *, deadline_seconds: float = REMOVE_DEADLINE_SECONDS) -> None:
    """Removes the group ``isthmus-lab[/<name>]`` and all below it. A process that still gets into it is ended."""

    def removed() -> bool:
        for pid in processes(name) - {os.getpid()}:
            _kill_member(pid)
        for hierarchy in hierarchies():
            for directory in _tree(hierarchy.group / name):
                # Busy while a process in it is still being reaped.
                with contextlib.suppress(OSError):
                    directory.rmdir()
        return not existing(name)

    wait_until(
        removed,
        what=f"The control group {GROUP}/{name} is removed",
        deadline_seconds=deadline_seconds,
        state=lambda: ", ".join(map(str, existing(name))),
    )


def existing(name: str = "") -> list[Path]:
    """The directories of the group ``isthmus-lab[/<name>]`` that are there."""
    return [path for path in (hierarchy.group / name for hierarchy in hierarchies()) if path.is_dir()]
