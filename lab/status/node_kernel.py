"""What a machine's kernel says of itself: a part of the script `node_agent.py`, with which it is sent."""

import ctypes
import platform
import socket
import struct
from pathlib import Path

SYSCALLS = {"x86_64": 321, "aarch64": 280}
"""The number of bpf(2)."""
BPF_PROG_QUERY = 16
TCX = (46, 47)
"""BPF_TCX_INGRESS and BPF_TCX_EGRESS (include/uapi/linux/bpf.h). Cilium attaches so from kernel 6.6 on."""


def programs(interface: str) -> list[int] | None:
    """How many BPF programs an interface has, at its ingress and egress; None without one, or a kernel that says it.

    Cilium leads pods' packets into wt0 by its programs there, and a new wt0 has none until its agent has seen it.
    """
    number = SYSCALLS.get(platform.machine())
    counts: list[int] = []
    for where in TCX:
        try:
            index = socket.if_nametoindex(interface)
        except OSError:
            return None
        # target_ifindex, attach_type, query_flags, attach_flags, prog_ids (none wanted), and the count as the answer.
        asked = ctypes.create_string_buffer(struct.pack("<IIIIQI", index, where, 0, 0, 0, 0), 64)
        if number is None or ctypes.CDLL(None).syscall(number, BPF_PROG_QUERY, asked, 64) != 0:
            return None
        counts.append(struct.unpack_from("<I", asked, 24)[0])
    return counts


def number_of(path: str) -> int | None:
    """A number in a file."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
