"""Whether Cilium leads packets into an interface: by BPF programs at its ingress and egress. A new one lacks them until
Cilium's agent has seen it, some seconds later or more on a busy node.

Kernels from 6.6 on have them by tcx, which bpf(2) counts; before, and where Cilium was told so, they are filters of tc.
Numbers are those of linux/bpf.h, linux/pkt_sched.h and linux/rtnetlink.h.
"""

from __future__ import annotations

import ctypes
import platform
import socket
import struct
from typing import Final

from keeper.netlink import Netlink, attributes

SYSCALLS: Final = {"x86_64": 321, "aarch64": 280}
"""The number of bpf(2)."""
PROG_QUERY: Final = 16
TCX: Final = (46, 47)
"""BPF_TCX_INGRESS and BPF_TCX_EGRESS."""
GETFILTER: Final = 46
CLSACT: Final = (0xFFFFFFF2, 0xFFFFFFF3)
"""Parents of its filters: ingress, egress."""
KIND: Final = 1
WITNESS: Final = "cilium_host"
"""Made by Cilium's agent as soon as it begins after a boot, and has such programs wherever it works, so that "none" is
believed.
"""


def led(netlink: Netlink, interface: str) -> bool | None:
    """None where that can't be told: a kernel that does not say it, rights that are missing. Without Cilium's own
    interface nothing leads packets anywhere: the machine has booted, and its agent has not begun.
    """
    witness = _index(WITNESS)
    if witness is None:
        return False
    if not _both(netlink, witness):
        return None
    index = _index(interface)
    return index is not None and _both(netlink, index)


def _index(interface: str) -> int | None:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


def _both(netlink: Netlink, index: int) -> bool:
    return all(_by_tcx(index, where) for where in TCX) or all(_by_tc(netlink, index, parent) for parent in CLSACT)


def _by_tcx(index: int, where: int) -> bool:
    number = SYSCALLS.get(platform.machine())
    # target_ifindex, attach_type, query_flags, attach_flags, prog_ids (none wanted), and the count as the answer.
    asked = ctypes.create_string_buffer(struct.pack("<IIIIQI", index, where, 0, 0, 0, 0), 64)
    if number is None or ctypes.CDLL(None).syscall(number, PROG_QUERY, asked, 64) != 0:
        return False
    return int(struct.unpack_from("<I", asked, 24)[0]) > 0


def _by_tc(netlink: Netlink, index: int, parent: int) -> bool:
    request = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, 0, parent, 0)
    try:
        found = netlink.ask(GETFILTER, request)
    except OSError:
        return False
    return any(attributes(content[20:]).get(KIND) == b"bpf\0" for content in found)
