"""What a machine's root file system holds beyond the base tree: the difference between a tree and a booting machine.

The files are data; :func:`write` lays them into the upper layer of the machine's overlay. The systemd units that are
masked here are those that have no meaning in a container or no network to talk to, so that every boot ends in
"running".
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lab import topology

RESOLVER = topology.NETBIRD_ADDRESS
"""The name server in /etc/resolv.conf. Nothing listens there on port 53, and its host says so at once by ICMP,
so what asks for a name out on the Internet fails in milliseconds and not at a time-out. It must not be a loopback
address: kubelet hands the file to pods, where CoreDNS would forward to itself."""

MASKED_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("console-getty.service", "getty.target", "getty-static.service", "e2scrub_reap.service"),
    *("systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service"),
    *("systemd-resolved.service", "systemd-timesyncd.service", "cloud-init-hotplugd.socket"),
    *("systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
    *("systemd-udev-trigger.service", "systemd-udev-settle.service", "systemd-pstore.service"),
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("proc-sys-fs-binfmt_misc.automount", "dev-hugepages.mount", "systemd-binfmt.service"),
    # The k3s artifact brings its own.
    "containerd.service",
)

_HOST_SYSCTLS = ("50-pid-max.conf", "99-protect-links.conf")
"""Debian's settings of the whole kernel, not of a namespace: they are the host's business."""

_CLOUD_CONFIG = {
    # As on the provider's images: root is who logs in. The network is given from outside.
    "datasource_list": ["NoCloud"],
    "network": {"config": "disabled"},
    "disable_root": False,
    "users": [],
    "ssh_genkeytypes": ["ed25519"],
    # Debian's package "locales" is not in the tree.
    "locale": False,
    "growpart": {"mode": "off"},
    "resize_rootfs": False,
    "grub_dpkg": {"enabled": False},
}


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """An SSH host key, Ed25519: the private one as OpenSSH PEM text, the public one as a line."""

    private: str = field(repr=False)
    public: str


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a machine, or with ``link`` a symbolic link."""

    path: str
    content: str = field(default="", repr=False)
    mode: int = 0o644
    link: str | None = None


def machine_files(
    *,
    hostname: str,
    user_data: str | None,
    authorized_keys: Sequence[str],
    host_key: HostKey | None,
    machine_id: str,
    instance_id: str,
) -> list[File]:
    """All files of a machine that are its own. Without user data cloud-init is off, as on an on-premise machine."""
    files = [
        File(path="/etc/hostname", content=f"{hostname}\n"),
        File(
            path="/etc/hosts",
            content=f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n",
        ),
        File(path="/etc/resolv.conf", content=f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n"),
        File(path="/etc/machine-id", content=f"{machine_id}\n", mode=0o444),
        File(path="/etc/systemd/system/default.target", link="/usr/lib/systemd/system/multi-user.target"),
        File(
            path="/etc/systemd/journald.conf.d/lab.conf",
            # The kernel's log is the host's. A journal on disk can be read from outside, also when the machine is off.
            content="[Journal]\nReadKMsg=no\nAudit=no\nStorage=persistent\nSystemMaxUse=64M\nRateLimitBurst=0\n",
        ),
        File(
            path="/etc/systemd/system.conf.d/lab.conf",
            content="[Manager]\nDefaultTimeoutStopSec=15s\nDefaultTimeoutStartSec=60s\n",
        ),
        *(File(path=f"/etc/sysctl.d/{name}", link="/dev/null") for name in _HOST_SYSCTLS),
        *(File(path=f"/etc/systemd/system/{unit}", link="/dev/null") for unit in MASKED_UNITS),
    ]
    if authorized_keys:
        lines = "".join(f"{key.strip()}\n" for key in authorized_keys)
        files.append(File(path="/root/.ssh/authorized_keys", content=lines, mode=0o600))
    if host_key is not None:
        files += [
            File(path="/etc/ssh/ssh_host_ed25519_key", content=host_key.private, mode=0o600),
            File(path="/etc/ssh/ssh_host_ed25519_key.pub", content=f"{host_key.public.strip()}\n"),
        ]
    if user_data is None:
        files.append(File(path="/etc/cloud/cloud-init.disabled"))
    else:
        files += cloud_init_files(user_data, hostname=hostname, instance_id=instance_id)
    return files


def cloud_init_files(user_data: str, *, hostname: str, instance_id: str) -> list[File]:
    """A NoCloud seed with this user data.

    https://cloudinit.readthedocs.io/en/22.4.2/topics/datasources/nocloud.html
    """
    seed = "/var/lib/cloud/seed/nocloud"
    metadata = {"instance-id": instance_id, "local-hostname": hostname}
    # JSON is YAML.
    return [
        File(path=f"{seed}/user-data", content=user_data, mode=0o600),
        File(path=f"{seed}/meta-data", content=json.dumps(metadata, indent=2) + "\n"),
        File(path="/etc/cloud/cloud.cfg.d/99-lab.cfg", content=json.dumps(_CLOUD_CONFIG, indent=2) + "\n"),
    ]


def write(files: Iterable[File], upper: Path, lower: Path) -> None:
    """Writes the files into an overlay's upper layer.

    A directory that is in both layers has the attributes of the upper one: they are copied from the lower one.
    """
    for file in files:
        relative = PurePosixPath(file.path).relative_to("/")
        for parent in reversed(relative.parents[:-1]):
            directory = upper / parent
            if not directory.exists():
                directory.mkdir(mode=0o700 if parent.name == ".ssh" else 0o755)
                if (lower / parent).is_dir():
                    shutil.copystat(lower / parent, directory)
                    attributes = (lower / parent).stat()
                    os.chown(directory, attributes.st_uid, attributes.st_gid)
        target = upper / relative
        target.unlink(missing_ok=True)
        if file.link is not None:
            target.symlink_to(file.link)
            continue
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, file.mode)
            stream.write(file.content)


def new_machine_id() -> str:
    """A random machine id in systemd's form."""
    return uuid.uuid4().hex
