"""What this machine must have to carry a lab, and what is wrong where it has not. Looking and judging are apart."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab import state
from lab.errors import LabError
from toolchain import RECIPES, cache

MEMORY_BYTES: Final = 6 << 30
"""Two clusters of two nodes take 3.3 GB, NetBird, Pulumi and the stand-ins another 1.2 GB; the rest is file cache."""
DISK_BYTES: Final = 30 << 30
"""A cold start: Go's caches 20.7 GiB, artifacts and images 2.3, a running lab 5.2 (measured; docs/lab.md)."""
DISK_BYTES_BUILT: Final = 8 << 30
"""The same once every program of the lab is in the cache."""

PACKAGES: Final = (
    *("iproute2", "nftables", "iptables", "procps", "util-linux", "openssh-client", "kmod"),
    *("gcc", "libc6-dev", "ca-certificates", "git"),
)
"""Debian packages that the lab's orchestration needs on this machine; base trees and images name theirs themselves."""

_CAP_SYS_RESOURCE = 24
_LINKS = ("veth", "bridge", "vxlan")


class PreflightError(LabError):
    """This machine can't carry a lab; the text lists every reason with what to do."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was found."""

    root: bool
    system: str
    architecture: str
    memory_bytes: int
    disk_bytes: int
    built: bool
    has_tun: bool
    cgroup_hierarchies: int
    file_systems: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What the kernel does when it is asked for it; looked at once the packages are there."""

    missing_links: tuple[str, ...]
    nftables: bool


def look() -> Machine:
    """Looks at this machine."""
    memory = 0
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            memory = int(line.split()[1]) * 1024
    for name in ("overlay", "tun", "vxlan", "br_netfilter"):
        # A module that is built in, or can't be loaded, is found out by trying, below.
        if shutil.which("modprobe") and os.geteuid() == 0:
            subprocess.run(["modprobe", "--quiet", name], capture_output=True)
    file_systems = {
        line.split()[-1] for line in Path("/proc/filesystems").read_text(encoding="ascii").splitlines() if line
    }
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    below = cache.root()
    while not below.exists():
        below = below.parent
    return Machine(
        root=os.geteuid() == 0,
        system=platform.system(),
        architecture=platform.machine(),
        memory_bytes=memory,
        disk_bytes=shutil.disk_usage(below).free,
        built=all(
            any((cache.root() / "tools" / name).glob(f"*/{cache.MANIFEST}"))
            for name, recipe in RECIPES.items()
            if recipe.official is None
        ),
        has_tun=Path("/dev/net/tun").is_char_device(),
        cgroup_hierarchies=sum(line.split(" ")[2] in ("cgroup", "cgroup2") for line in mounts),
        file_systems=frozenset(file_systems),
    )


def judge(machine: Machine, *, resuming: bool) -> list[str]:
    """Every reason why the lab can't be raised here. While resuming, memory and disk are in use by the lab itself."""
    if machine.system != "Linux":
        return [f"The lab needs Linux; this is {machine.system}. A Debian 12 virtual machine will do."]
    if not machine.root:
        return ["The lab needs root: it makes namespaces, mounts and interfaces. Run it as root: sudo ./isthmus lab up"]
    reasons = []
    if machine.architecture != "x86_64":
        reasons.append(f"The lab is made for x86_64; this machine is {machine.architecture}.")
    if not resuming and machine.memory_bytes < MEMORY_BYTES:
        reasons.append(
            f"{machine.memory_bytes / 2**30:.1f} GiB of memory are free; the lab needs {MEMORY_BYTES / 2**30:.0f}. "
            "End other programs or take a larger machine."
        )
    needed = DISK_BYTES_BUILT if machine.built else DISK_BYTES
    if not resuming and machine.disk_bytes < needed:
        start = "a start" if machine.built else "a first start"
        reasons.append(
            f"{machine.disk_bytes / 2**30:.1f} GiB of disk are free at {cache.root()}; {start} needs "
            f"{needed / 2**30:.0f}. Make room, or set ISTHMUS_CACHE to a folder on a larger disk."
        )
    if not machine.has_tun:
        reasons.append(
            "There is no /dev/net/tun, which NetBird needs: modprobe tun, or "
            "mkdir -p /dev/net && mknod /dev/net/tun c 10 200"
        )
    if machine.cgroup_hierarchies == 0:
        reasons.append("No cgroup hierarchy is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    for name, use in (
        ("overlay", "machines are overlays"),
        ("bpf", "Cilium's programs are pinned there"),
        ("tmpfs", ""),
    ):
        if name not in machine.file_systems:
            because = f" ({use})" if use else ""
            reasons.append(f"The kernel has no file system {name}{because}: modprobe {name}, or another kernel.")
    return reasons


def look_at_kernel() -> Kernel:
    """Tries what the lab needs of the kernel, in a network namespace that is gone afterwards."""
    missing = []
    for kind in _LINKS:
        options = ["id", "1", "dstport", "4789"] if kind == "vxlan" else []
        tried = subprocess.run(
            ["unshare", "--net", "ip", "link", "add", "probe0", "type", kind, *options], capture_output=True, text=True
        )
        if tried.returncode != 0:
            missing.append(kind)
    rules = "add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; add rule ip t c masquerade"
    nftables = subprocess.run(["unshare", "--net", "nft", rules], capture_output=True, text=True)
    return Kernel(missing_links=tuple(missing), nftables=nftables.returncode == 0)


def judge_kernel(kernel: Kernel) -> list[str]:
    """What the kernel lacks, a sentence each."""
    reasons = [
        f"The kernel can't make interfaces of the kind {kind}: modprobe {kind}, or a kernel that has it."
        for kind in kernel.missing_links
    ]
    if not kernel.nftables:
        reasons.append(
            "The kernel can't translate addresses by nftables: modprobe nft_masq nft_chain_nat, or another kernel."
        )
    return reasons


def require(reasons: list[str]) -> None:
    """Raises :class:`PreflightError` with all reasons, if there are any."""
    if reasons:
        raise PreflightError("\n".join(["This machine can't carry the lab.", *(f"  - {reason}" for reason in reasons)]))


def require_root(what: str) -> None:
    """Raises :class:`PreflightError` for anybody but root."""
    if os.geteuid() != 0:
        raise PreflightError(f"{what} needs root. Run the same command as root, for example with sudo.")


def check_machine() -> None:
    """The first check, before anything is installed or made."""
    require(judge(look(), resuming=state.STATE.is_dir()))


def check_kernel() -> None:
    """The second check, once the packages are there."""
    require(judge_kernel(look_at_kernel()))


def lacks_sys_resource() -> bool:
    """True where root has no CAP_SYS_RESOURCE, so that no container can be given it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return not int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1
    return True
