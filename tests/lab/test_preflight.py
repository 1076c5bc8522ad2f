"""What is said of a machine that can't carry the lab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.preflight import (
    DISK_BYTES,
    DISK_BYTES_BUILT,
    MEMORY_BYTES,
    Kernel,
    Machine,
    PreflightError,
    judge,
    judge_kernel,
    require,
)

GOOD = Machine(
    root=True,
    system="Linux",
    architecture="x86_64",
    memory_bytes=MEMORY_BYTES,
    disk_bytes=DISK_BYTES,
    built=False,
    has_tun=True,
    cgroup_hierarchies=1,
    file_systems=frozenset({"overlay", "bpf", "tmpfs"}),
)


def test_a_good_machine_passes() -> None:
    assert judge(GOOD, resuming=False) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"root": False}, "The lab needs root: it makes namespaces, mounts and interfaces."),
        ({"system": "Darwin"}, "The lab needs Linux; this is Darwin."),
        ({"architecture": "aarch64"}, "The lab is made for x86_64; this machine is aarch64."),
        ({"memory_bytes": 1 << 30}, "1.0 GiB of memory are free; the lab needs 6."),
        ({"disk_bytes": 1 << 30}, "1.0 GiB of disk are free at"),
        ({"has_tun": False}, "There is no /dev/net/tun, which NetBird needs: modprobe tun"),
        ({"cgroup_hierarchies": 0}, "No cgroup hierarchy is mounted: mount -t cgroup2"),
        ({"file_systems": frozenset({"overlay", "tmpfs"})}, "The kernel has no file system bpf (Cilium's programs"),
    ],
)
def test_each_fault_is_named_with_what_to_do(change: dict[str, object], text: str) -> None:
    reasons = judge(replace(GOOD, **change), resuming=False)  # type: ignore[arg-type]
    assert len(reasons) == 1
    assert reasons[0].startswith(text)


def test_less_disk_will_do_once_everything_is_built() -> None:
    assert judge(replace(GOOD, disk_bytes=DISK_BYTES_BUILT, built=True), resuming=False) == []
    (reason,) = judge(replace(GOOD, disk_bytes=DISK_BYTES_BUILT), resuming=False)
    assert "a first start needs 30." in reason
    (reason,) = judge(replace(GOOD, disk_bytes=1 << 30, built=True), resuming=False)
    assert "a start needs 8." in reason


def test_the_page_says_the_same() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8").split())
    for number, words in (
        (MEMORY_BYTES, "of free memory"),
        (DISK_BYTES, "of free disk"),
        (DISK_BYTES_BUILT, "Programs are built once"),
    ):
        assert f"{number >> 30} GiB{'.' if words[0] == 'P' else ''} {words}" in page


def test_all_faults_come_at_once() -> None:
    bad = replace(GOOD, memory_bytes=0, has_tun=False, cgroup_hierarchies=0)
    with pytest.raises(PreflightError) as caught:
        require(judge(bad, resuming=False))
    assert len(str(caught.value).splitlines()) == 4


def test_a_lab_that_goes_on_is_not_refused_for_what_it_uses_itself() -> None:
    assert judge(replace(GOOD, memory_bytes=0, disk_bytes=0), resuming=True) == []


def test_the_kernel_is_judged_by_what_it_did() -> None:
    assert judge_kernel(Kernel(missing_links=(), nftables=True)) == []
    reasons = judge_kernel(Kernel(missing_links=("vxlan",), nftables=False))
    assert reasons[0].startswith("The kernel can't make interfaces of the kind vxlan: modprobe vxlan")
    assert reasons[1].startswith("The kernel can't translate addresses by nftables")
