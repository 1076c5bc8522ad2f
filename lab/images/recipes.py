"""The lab's images and the layers that they are made of, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lab.images.model import File, ImageRecipe, LayerRecipe, Tree
from lab.topology import PROBE_IMAGE
from toolchain import versions

NETBIRD_OPERATOR_IMAGE: Final = "ghcr.io/netbirdio/netbird-operator:v0.8.0"
RELAY_IMAGE: Final = f"docker.io/coredns/coredns:{versions.COREDNS}"
AGENT_IMAGE: Final = f"docker.io/netbirdio/netbird:{versions.NETBIRD}"
KEEPER_IMAGE: Final = "docker.io/library/python:3.13-slim"
"""With Debian 12's Python 3.11 in it, the oldest that the keeper runs in."""

UNUSED_PACKAGES: Final = frozenset(
    # Dependencies that only installing or administrating needs.
    (
        *("perl", "perl-base", "perl-modules-5.36", "libperl5.36", "libfile-find-rule-perl", "libnumber-compare-perl"),
        *("libtext-glob-perl", "usrmerge", "dpkg", "debconf", "adduser", "passwd", "init-system-helpers"),
        *("libsemanage-common", "libsemanage2", "libsepol2", "libpam-modules", "libpam-modules-bin"),
        *("util-linux-extra", "media-types", "readline-common", "libgdbm6", "libgdbm-compat4", "libaudit-common"),
    )
)

UNUSED_PATHS: Final = (
    *("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/"),
    *(
        "usr/share/bash-completion/",
        "usr/share/bug/",
        "usr/share/perl5/",
        "usr/share/base-passwd/",
        "usr/share/debconf/",
    ),
    *("usr/share/zsh/", "usr/share/menu/", "usr/share/pixmaps/", "usr/lib/systemd/", "etc/init.d/", "etc/cron.daily/"),
)

_BASE_LINKS: Final = (
    *((name, f"usr/{name}") for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")),
    ("var/run", "/run"),
    ("usr/bin/awk", "mawk"),
    ("usr/bin/nc", "nc.openbsd"),
    # The alternatives that Debian prefers.
    *(
        (f"usr/sbin/{family}{suffix}", f"{family}-nft{suffix}")
        for family in ("iptables", "ip6tables")
        for suffix in ("", "-save", "-restore")
    ),
)

_BASE_TEXTS: Final = (
    ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"),
)

_LLVM: Final = "usr/lib/llvm-19"

LAYERS: Final[Mapping[str, LayerRecipe]] = {
    recipe.name: recipe
    for recipe in (
        LayerRecipe(
            name="base",
            packages=(
                *("base-files", "bash", "dash", "coreutils", "grep", "sed", "mawk", "findutils", "tar", "gzip"),
                *("util-linux", "mount", "procps", "hostname", "netbase", "kmod", "libc-bin", "diffutils"),
                *("iproute2", "iptables", "nftables", "ipset", "conntrack", "iputils-ping", "netcat-openbsd"),
            ),
            content=tuple(File(target, text=text, mode=0o644) for target, text in _BASE_TEXTS),
            links=_BASE_LINKS,
            directories=(
                *(("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)),
                *((name, 0o755) for name in ("run", "home", "proc", "sys", "dev", "etc", "opt", "mnt")),
                *(("var/lib", 0o755), ("var/log", 0o755)),
            ),
        ),
        LayerRecipe(
            # Cilium compiles its BPF programs at run time: clang and llc, without headers and tools for more.
            name="clang",
            packages=("libllvm19", "libclang-cpp19"),
            single_packages=("clang-19", "llvm-19", "libclang-common-19-dev"),
            below="base",
            links=(("usr/bin/clang", f"../../{_LLVM}/bin/clang"), ("usr/bin/llc", f"../../{_LLVM}/bin/llc")),
            only=(
                *("usr/lib/x86_64-linux-gnu/", "usr/lib/aarch64-linux-gnu/", f"{_LLVM}/lib/libLLVM"),
                *(f"{_LLVM}/lib/libclang-cpp", f"{_LLVM}/lib/clang/19/include/"),
                *(f"{_LLVM}/bin/clang", f"{_LLVM}/bin/llc", "usr/lib/clang/"),
            ),
            without=(f"{_LLVM}/bin/clang-cpp", "usr/lib/x86_64-linux-gnu/gconv/"),
        ),
        LayerRecipe(
            name="cilium",
            content=(
                *(
                    File(f"usr/bin/{name}", tool="cilium", source=name)
                    for name in ("cilium-agent", "cilium-dbg", "cilium-mount", "cilium-sysctlfix")
                ),
                File("opt/cni/bin/cilium-cni", tool="cilium", source="cilium-cni"),
                Tree("var/lib/cilium/bpf", tool="cilium", source="bpf"),
                *(
                    File(name, tool="cilium", source=f"scripts/{name}")
                    for name in ("install-plugin.sh", "cni-uninstall.sh", "init-container.sh")
                ),
            ),
            links=(("usr/bin/cilium", "cilium-dbg"),),
            directories=(("home/cilium", 0o755),),
        ),
        LayerRecipe(
            # Debian's loopback plugin, at the place that Cilium's install-plugin.sh copies it from.
            name="cni-loopback",
            single_packages=("containernetworking-plugins",),
            only=("usr/lib/cni/loopback",),
            links=(("cni/loopback", "/usr/lib/cni/loopback"),),
        ),
        LayerRecipe(
            name="cilium-operator",
            content=(File("usr/bin/cilium-operator-generic", tool="cilium", source="cilium-operator-generic"),),
        ),
        LayerRecipe(name="coredns", content=(File("coredns", tool="coredns", source="coredns"),)),
        LayerRecipe(name="pause", content=(File("pause", source="lab/image_files/pause.c"),)),
        LayerRecipe(
            name="netbird",
            content=(
                File("usr/local/bin/netbird", tool="netbird", source="netbird"),
                File("usr/local/bin/netbird-entrypoint.sh", source="lab/image_files/netbird-entrypoint.sh"),
            ),
            directories=(("var/lib/netbird", 0o755), ("var/log/netbird", 0o755)),
        ),
        LayerRecipe(
            name="netbird-operator",
            content=(File("manager", tool="netbird-operator", source="netbird-operator"),),
        ),
        LayerRecipe(
            # What Python's own slim image has besides Python: no tool for networks.
            name="python",
            packages=(
                *("python3-minimal", "python3", "base-files", "bash", "dash", "coreutils", "grep", "sed", "findutils"),
                *("netbase", "libc-bin", "ca-certificates"),
            ),
            content=tuple(File(target, text=text, mode=0o644) for target, text in _BASE_TEXTS),
            links=(
                *((name, f"usr/{name}") for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")),
                ("var/run", "/run"),
            ),
            directories=(
                *(("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)),
                *((name, 0o755) for name in ("run", "home", "proc", "sys", "dev", "etc", "opt", "mnt")),
                *(("var/lib", 0o755), ("var/log", 0o755)),
            ),
        ),
        LayerRecipe(
            name="probe",
            packages=("python3-minimal", "python3", "curl", "bind9-dnsutils", "iperf3"),
            below="base",
            content=(File("usr/local/bin/probe-server", source="lab/probe/server.py"),),
        ),
    )
}

_PATH: Final = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")

IMAGES: Final = (
    ImageRecipe("docker.io/rancher/mirrored-pause:3.6", ("pause",), entrypoint=("/pause",)),
    ImageRecipe(
        f"docker.io/rancher/mirrored-coredns-coredns:{versions.COREDNS}", ("coredns",), entrypoint=("/coredns",)
    ),
    ImageRecipe(RELAY_IMAGE, ("coredns",), entrypoint=("/coredns",)),
    ImageRecipe(
        AGENT_IMAGE,
        ("base", "netbird"),
        entrypoint=("/usr/local/bin/netbird-entrypoint.sh",),
        environment=(
            _PATH,
            ("NB_LOG_FILE", "console,/var/log/netbird/client.log"),
            ("NB_DAEMON_ADDR", "unix:///var/run/netbird.sock"),
            ("NB_ENTRYPOINT_SERVICE_TIMEOUT", "30"),
        ),
    ),
    ImageRecipe(KEEPER_IMAGE, ("python",), command=("python3",), environment=(_PATH,)),
    ImageRecipe(NETBIRD_OPERATOR_IMAGE, ("netbird-operator",), entrypoint=("/manager",)),
    ImageRecipe(PROBE_IMAGE, ("base", "probe"), command=("/usr/local/bin/probe-server",), environment=(_PATH,)),
    ImageRecipe(
        f"quay.io/cilium/operator-generic:v{versions.CILIUM}",
        ("cilium-operator",),
        command=("/usr/bin/cilium-operator-generic",),
    ),
    ImageRecipe(
        f"quay.io/cilium/cilium:v{versions.CILIUM}",
        ("base", "clang", "cni-loopback", "cilium"),
        command=("/usr/bin/cilium-dbg",),
        environment=(_PATH,),
        working_directory="/home/cilium",
    ),
)
"""Every image of the lab, in the order in which their tools are built."""
