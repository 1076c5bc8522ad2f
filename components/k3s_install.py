"""What is run on a machine as root to make it a node, or to bring one up to date, with the program's own installer."""

from __future__ import annotations

from typing import Final

from domain.names import (
    CILIUM_INTERFACE,
    INSTALL_SCRIPT,
    JOIN_SCRIPT,
    K3S_CONFIG,
    K3S_DATA,
    K3S_REGISTRIES,
    KUBELET_DATA,
    NODE_DIRECTORY,
    NODE_ENVIRONMENT,
)
from domain.node_files import NOT_COMPARED
from domain.overlay import NETBIRD_INTERFACE

INSTALL_SECONDS: Final = 1500
"""The installer's own deadline, ``total_seconds`` in it."""
_OURS: Final = (
    "set -eu; umask 077; "
    f"if [ ! -d {NODE_DIRECTORY} ]; then "
    "if [ -e /etc/rancher/k3s ]; then "
    "echo k3s that was not put here by this program is on this machine, see /etc/rancher/k3s: its data would be lost."
    " Give the cluster by on_premise.kubeconfig, or take k3s off the machine first >&2; exit 1; fi; "
    f"if [ -e /sys/class/net/{NETBIRD_INTERFACE} ]; then "
    f"echo NetBird runs on this machine already, its interface {NETBIRD_INTERFACE} is there: the agent of the router "
    "would share its interface, routes and addresses. Take it off the machine first >&2; exit 1; fi; fi; "
    f"mkdir -p {NODE_DIRECTORY}; rm -f {NODE_DIRECTORY}/leaves; "
)
"""The machine is one of this program's from then on."""
_RUN: Final = f"exec timeout -k 30 {INSTALL_SECONDS + 60} {INSTALL_SCRIPT}"
INSTALL: Final = f"{_OURS}timeout 300 base64 -d | tar --extract --preserve-permissions --directory /; {_RUN}"
"""Unpacks the archive from standard input and runs the installer in it. Idempotent: it restarts k3s only for a
change. The time limits are the machine's own: the command provider ends nothing that runs there.
"""

_UNIT: Final = "sed -n s/^ISTHMUS_K3S_UNIT=//p"
_VERSION: Final = "sed -n s/^ISTHMUS_K3S_VERSION=//p"
_COMPARED: Final = (
    f"awk -v 'others= {' '.join(NOT_COMPARED)} ' "
    """'/^[^ -]/ { split($0, name, ":"); kept = !index(others, " " name[1] " ") } kept'"""
)
_OTHER_VERSION: Final = f'[ "$(new {NODE_ENVIRONMENT} | {_VERSION})" != "$(old {NODE_ENVIRONMENT} | {_VERSION})" ]'
_OTHER_SETTINGS: Final = (
    f'{{ [ "$(new {K3S_CONFIG} | {_COMPARED})" != "$(old {K3S_CONFIG} | {_COMPARED})" ] || '
    f'[ "$(new {K3S_REGISTRIES})" != "$(old {K3S_REGISTRIES})" ]; }}'
)
LATER: Final = "later: $(date +%s%N)"
"""What :data:`UPDATE` says where it has laid nothing: another word each time, so that what depends on it is updated."""
UPDATE: Final = (
    f"{_OURS}"
    f"find {NODE_DIRECTORY} -name 'archive.*' -mmin +60 -exec rm -f {{}} +; "
    f"archive=$(mktemp {NODE_DIRECTORY}/archive.XXXXXX); "
    """trap 'rm -f "$archive"' EXIT; trap 'exit 1' HUP PIPE TERM; """
    'timeout 300 base64 -d >"$archive"; '
    'new() { tar --extract --to-stdout --file "$archive" "${1#/}" 2>/dev/null || true; }; '
    'old() { cat "$1" 2>/dev/null || true; }; '
    f"unit=$(new {NODE_ENVIRONMENT} | {_UNIT}); "
    'if [ -z "$unit" ]; then echo the archive of the files of this node is not whole >&2; exit 1; fi; '
    f"if {{ [ -e /sys/class/net/{CILIUM_INTERFACE} ] && "
    f'systemctl is-active --quiet "$unit" && '
    f'[ "$(new {JOIN_SCRIPT} | head -n 1)" = "$(old {JOIN_SCRIPT} | head -n 1)" ] && '
    f"{{ {_OTHER_VERSION} || {_OTHER_SETTINGS}; }}; }} || "
    f'{{ [ "$unit" = k3s-agent.service ] && [ -d {KUBELET_DATA} ] && '
    f"[ -e /etc/systemd/system/k3s-agent.service ] && {_OTHER_VERSION}; }}; then "
    f"echo {LATER}; echo k3s was here before, and takes its other version or settings later, node by node >&2; "
    "exit 0; fi; "
    f'tar --extract --preserve-permissions --file "$archive" --directory /; rm -f "$archive"; {_RUN}'
)
"""As :data:`INSTALL`, but where k3s runs it leaves another version and other settings to ``node_generation.py``, which
closes the node first, or empties it, and is told so by the word. At once goes what restores a k3s that does not run,
what comes before Cilium, when no pod has to be spared, another role, and the only server's way to etcd, since those
that join it can't be ready before. But a worker never gets another version before its servers, whether it runs or not.
"""

STAGE_SECONDS: Final = 1200
"""For a download and an earlier run that ends: the installer's own deadlines for these."""
STAGE: Final = f"timeout -k 30 {STAGE_SECONDS} sh -s -- stage"
"""Runs the installer from standard input as far as the binary, which it lays beside the one that runs."""

UNINSTALL_SECONDS: Final = 600
"""For pods that end, and data that is deleted."""
UNINSTALL_ANEW: Final = f"if [ -d {NODE_DIRECTORY} ]; then exec timeout -k 30 {UNINSTALL_SECONDS} sh -s -- anew; fi"
"""Runs uninstall-k3s from standard input, on a machine that is to be a node again at once. What this program has not
put on a machine stays.
"""
MAY_BE_ANEW: Final = (
    'if [ "$(id -u)" != 0 ]; then echo who logs in is not root; exit 1; fi; '
    f'disk=$(grep -o " {K3S_DATA}/[^ ]*" /proc/self/mounts | grep -v /agent/containerd/ | head -n 1); '
    'if [ -n "$disk" ]; then echo "something is mounted at$disk, and what k3s has left there would come back to the '
    'new node: unmount it first, or take the machine out of on_premise.machines and add it again"; exit 1; fi'
)
"""Fails, with a reason, on a machine that can't be a node again at once: nothing below a mount is deleted. What
containerd mounts there for a moment, as it unpacks an image, doesn't count. Changes nothing.
"""
