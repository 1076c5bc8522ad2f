"""Base trees: Debian file systems that machines are laid on, made once by debootstrap and kept in the cache.

A tree is never written to after it was made: machines mount an overlay on it. Its key is made of the
suite, the architecture, the packages and this module's version, so a changed list gives a new tree beside the old one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import cache, debian, processes
from toolchain.progress import Report, Reporter

SUITE = "bookworm"
RECIPE_VERSION = 1
"""Part of every tree's key: raise it when :func:`_trim` or the call of debootstrap changes what a tree contains."""

HOST_PACKAGES = ("debootstrap", "debian-archive-keyring", "wget", "gpgv")
"""What making a tree needs on the host; the keyring is missing on Ubuntu, and debootstrap would then check nothing."""

MACHINE_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "cloud-init", "sudo", "procps", "kmod", "udev"),
    # debootstrap does not resolve virtual packages: cffi-backend is named for what python3-cryptography depends on.
    *("python3", "python3-yaml", "python3-cryptography", "python3-cffi-backend"),
    *("ca-certificates", "curl", "less", "jq"),
    *("iproute2", "iputils-ping", "iptables", "nftables", "ipset", "conntrack", "tcpdump", "iperf3", "bind9-dnsutils"),
    *("containerd", "runc", "containernetworking-plugins", "netcat-openbsd", "psmisc", "bpftool"),
)
"""A machine: what a Debian cloud image brings, and containerd, runc and CNI plugins that the k3s artifact embeds."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the host's apt gets Debian from; None stands for debootstrap's own default."""

    mirror: str | None = None
    proxy: str | None = None
    ca_certificate: str | None = None


def ensure_machine_tree(*, progress: Report | None = None) -> Path:
    """The tree that machines boot from."""
    return ensure_tree("machine", MACHINE_PACKAGES, progress=progress)


def ensure_tree(name: str, packages: Sequence[str], *, progress: Report | None = None) -> Path:
    """Returns the root of a Debian tree with these packages and what they depend on (not what they recommend).

    It lies at ``<cache>/base/<name>/<key>/root``. Made on first use, by root; a process that is killed meanwhile leaves
    nothing that is taken for a tree. Raises :class:`~toolchain.errors.PackageError` when debootstrap is not to be had,
    :class:`RuntimeError` with the end of its log when it fails.
    """
    group = cache.root() / "base" / name
    key = tree_key(packages)
    report = Reporter(f"base tree {name}", progress)

    def work(partial: Path) -> Mapping[str, object]:
        debian.ensure_packages(HOST_PACKAGES, progress=progress)
        _debootstrap(partial / "root", packages, group.parent / "archives", apt_source(), report)
        report("install", "removing documentation and package lists")
        _trim(partial / "root")
        return {"suite": SUITE, "packages": sorted(set(packages))}

    tree = cache.ensure(
        group,
        key,
        work,
        required=("root/usr/bin/sh", "root/usr/bin/python3"),
        on_wait=lambda holder: report("wait", f"for {holder}"),
        on_made=lambda made: report("done", str(made / "root")),
    )
    return tree / "root"


def tree_key(packages: Sequence[str]) -> str:
    """The key of the tree with these packages; their order does not count."""
    facts = json.dumps([RECIPE_VERSION, SUITE, os.uname().machine, sorted(set(packages))])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def debootstrap_command(
    target: Path, packages: Sequence[str], archives: Path, source: Source
) -> tuple[list[str], dict[str, str]]:
    """The command and its additions to the environment.

    It runs in mount and process namespaces of its own: debootstrap leaves proc and sys mounted below its target, and a
    daemon that some package starts would outlive it. Both end with the command.
    """
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "debootstrap"]
    command += ["--variant=minbase", f"--include={','.join(dict.fromkeys(packages))}", f"--cache-dir={archives}"]
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if keyring.is_file():
        command += [f"--keyring={keyring}"]
    if source.ca_certificate:
        command += [f"--ca-certificate={source.ca_certificate}"]
    command += [SUITE, str(target)]
    if source.mirror:
        command += [source.mirror]
    environment = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    if source.proxy:
        environment |= {"http_proxy": source.proxy, "https_proxy": source.proxy}
    return command, environment


def apt_source() -> Source:
    """What the host's apt is configured with, so that a mirror, proxy or certificate set there holds here, too."""
    targets = processes.capture(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)",
            "Created-By: Packages",
        ]
    )
    settings = processes.capture(
        [
            *("apt-config", "shell"),
            *("HTTP", "Acquire::http::Proxy", "HTTPS", "Acquire::https::Proxy", "CA", "Acquire::https::CAInfo"),
        ]
    )
    return parse_apt(targets.stdout, settings.stdout)


def parse_apt(targets: str, settings: str) -> Source:
    """Reads the output of ``apt-get indextargets`` and ``apt-config shell``.

    Only a repository that says of itself that it is Debian's main archive in our suite counts: on Ubuntu there is none.
    """
    mirror = None
    for line in targets.splitlines():
        fields = line.split("|")
        if len(fields) == 4 and fields[:3] == ["Debian", SUITE, "main"]:
            mirror = fields[3].rstrip("/")
            break
    values = dict(re.findall(r"^(\w+)='([^']*)'$", settings, flags=re.MULTILINE))
    https = mirror is not None and mirror.startswith("https:")
    proxy = values.get("HTTPS" if https else "HTTP") or None
    if proxy == "DIRECT":
        proxy = None
    return Source(mirror=mirror, proxy=proxy, ca_certificate=values.get("CA") or None)


def _debootstrap(target: Path, packages: Sequence[str], archives: Path, source: Source, report: Reporter) -> None:
    archives.mkdir(parents=True, exist_ok=True)
    command, additions = debootstrap_command(target, packages, archives, source)
    counts = {"Retrieving": 0, "Extracting": 0, "Unpacking": 0, "Configuring": 0}

    def on_line(line: str) -> bool:
        match = re.match(r"I: (\w+) ([\w.+-]+)", line)
        if match is None or match[1] not in counts:
            return False
        counts[match[1]] += 1
        report("install", f"{match[1].lower()} {match[2].rstrip('.')} ({counts[match[1]]})")
        return True

    code, tail = processes.stream(command, environment={**_plain(os.environ), **additions}, on_line=on_line)
    if code != 0:
        log = target / "debootstrap" / "debootstrap.log"
        end = "\n".join(log.read_text(errors="replace").splitlines()[-20:]) if log.is_file() else ""
        raise RuntimeError(f"debootstrap ended with code {code}:\n{tail}\n{end}")


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what maintainer scripts in the tree should not see, such as a Python of ours."""
    dropped = ("PYTHON", "VIRTUAL_ENV", "LD_", "PERL", "XDG_", "DBUS_")
    return {name: value for name, value in environment.items() if not name.startswith(dropped)}


def _trim(root: Path) -> None:
    """Removes what is of no use in the tree, and what must differ between machines."""
    for below in ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/lib/apt/lists"):
        _empty(root / below)
    _empty(root / "var/cache/apt")
    _empty(root / "var/log")
    for pattern in ("etc/ssh/ssh_host_*", "etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname"):
        for path in root.glob(pattern):
            path.unlink()
    # systemd makes an identity for each machine only when this file is there and empty.
    (root / "etc/machine-id").write_text("")
    # Left as a copy of the host's by debootstrap.
    (root / "etc/resolv.conf").write_text("")


def _empty(directory: Path) -> None:
    if directory.is_dir():
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
