"""Whether Cilium leads packets into an interface, against the kernel: real programs, by tcx and by tc."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import subprocess

import pytest

from keeper.netlink import Netlink
from keeper.programs import SYSCALLS, TCX, led

pytestmark = pytest.mark.link

PROG_LOAD, PROG_ATTACH = 5, 8
SCHED_CLS = 3
NEXT = bytes.fromhex("b7000000ffffffff9500000000000000")
"""r0 = -1 (TCX_NEXT), exit."""


def sh(text: str) -> None:
    subprocess.run(["sh", "-ec", text], check=True)


def bpf(command: int, packed: bytes) -> int:
    asked = ctypes.create_string_buffer(packed, 128)
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(SYSCALLS[platform.machine()], command, asked, 128))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def by_tcx(interface: str, *places: int) -> None:
    code, licence = ctypes.create_string_buffer(NEXT), ctypes.create_string_buffer(b"GPL")
    packed = struct.pack("<IIQQ", SCHED_CLS, 2, ctypes.addressof(code), ctypes.addressof(licence))
    program = bpf(PROG_LOAD, packed)
    for place in places:
        try:
            bpf(PROG_ATTACH, struct.pack("<IIII", socket.if_nametoindex(interface), program, place, 0))
        except OSError as error:
            pytest.skip(f"this kernel has no tcx: {error}")
    os.close(program)


def by_tc(interface: str, *places: str) -> None:
    sh(f"tc qdisc add dev {interface} clsact")
    for place in places:
        sh(f"tc filter add dev {interface} {place} bpf da bytecode '1,6 0 0 0,'")


@pytest.fixture(autouse=True)
def _interfaces(own_network: None) -> None:
    sh("ip link add wt0 type veth peer name far; ip link add cilium_host type veth peer name cilium_net")


def test_where_ciliums_own_interface_has_none_nothing_is_known() -> None:
    assert led(Netlink(), "wt0") is None
    by_tc("wt0", "ingress", "egress")
    assert led(Netlink(), "wt0") is None


def test_after_a_boot_nothing_is_led_before_ciliums_own_interface_is_there() -> None:
    by_tc("cilium_host", "ingress", "egress")
    by_tc("wt0", "ingress", "egress")
    assert led(Netlink(), "wt0") is True
    sh("ip link del cilium_host")
    assert led(Netlink(), "wt0") is False


def test_by_tcx() -> None:
    by_tcx("cilium_host", *TCX)
    assert led(Netlink(), "wt0") is False
    by_tcx("wt0", TCX[0])
    assert led(Netlink(), "wt0") is False
    by_tcx("wt0", TCX[1])
    assert led(Netlink(), "wt0") is True
    sh("ip link del wt0; ip link add wt0 type veth peer name far")
    assert led(Netlink(), "wt0") is False


def test_by_tc_as_before_kernel_6_6() -> None:
    by_tc("cilium_host", "ingress", "egress")
    assert led(Netlink(), "wt0") is False
    by_tc("wt0", "ingress")
    assert led(Netlink(), "wt0") is False
    sh("tc filter add dev wt0 egress u32 match u32 0 0 classid 1:1")
    assert led(Netlink(), "wt0") is False
    sh("tc filter add dev wt0 egress bpf da bytecode '1,6 0 0 0,'")
    assert led(Netlink(), "wt0") is True
    assert led(Netlink(), "no-such") is False
