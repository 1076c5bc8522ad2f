"""What is run on a machine as root to make it a node, or to bring one up to date, with the program's own installer."""

from __future__ import annotations

from posixpath import dirname
from typing import Final

from domain.names import INSTALL_SCRIPT, K3S_DATA, NODE_DIRECTORY
from domain.overlay import NETBIRD_INTERFACE

INSTALL_SECONDS: Final = 1500
"""The installer's own deadline, ``total_seconds`` in it."""
INSTALL: Final = (
    "set -eu; umask 077; "
    f"if [ ! -d {dirname(INSTALL_SCRIPT)} ]; then "
    "if [ -e /etc/rancher/k3s ]; then "
    "echo k3s that was not put here by this program is on this machine, see /etc/rancher/k3s: its data would be lost."
    " Give the cluster by on_premise.kubeconfig, or take k3s off the machine first >&2; exit 1; fi; "
    f"if [ -e /sys/class/net/{NETBIRD_INTERFACE} ]; then "
    f"echo NetBird runs on this machine already, its interface {NETBIRD_INTERFACE} is there: the agent of the router "
    "would share its interface, routes and addresses. Take it off the machine first >&2; exit 1; fi; fi; "
    f"mkdir -p {dirname(INSTALL_SCRIPT)}; rm -f {dirname(INSTALL_SCRIPT)}/leaves; "
    "timeout 300 base64 -d | tar --extract --preserve-permissions --directory /; "
    f"exec timeout -k 30 {INSTALL_SECONDS + 60} {INSTALL_SCRIPT}"
)
"""Unpacks the archive from standard input and runs the installer in it. Idempotent: it restarts k3s only for a
change. The time limits are the machine's own: the command provider ends nothing that runs there.
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
