"""The lab's machines: namespaces with a root file system of their own, in which the real systemd is process 1.

A machine has its network namespace `isthmus-<name>`, its control group, and a directory below `<state>/machines` with
the upper layer of its root. It can be switched off and on again, plugged into networks, entered. Every function may
be repeated and may be called by several processes at once: calls about one machine come one after the other. Only
root can do any of it.

What is in the file system is `lab.machine_files`'s knowledge, how networks are wired `lab.network`'s.
"""

from __future__ import annotations

from lab.machine_files import HostKey
from lab.machines.entering import exec, exec_command, shell  # noqa: A004 - what it does is known by this name
from lab.machines.looking import boots, console, host_key, init_pid, interfaces, journal, running, status
from lab.machines.making import create, destroy, generate_host_key, plug, unplug
from lab.machines.model import Bind, Bridged, Interface, MachineSpec, Public
from lab.machines.power import cut_power, reboot, start, stop, wait_boot
from lab.machines.records import list_machines, namespace

__all__ = [
    "Bind",
    "Bridged",
    "HostKey",
    "Interface",
    "MachineSpec",
    "Public",
    "boots",
    "console",
    "create",
    "cut_power",
    "destroy",
    "exec",
    "exec_command",
    "generate_host_key",
    "host_key",
    "init_pid",
    "interfaces",
    "journal",
    "list_machines",
    "namespace",
    "plug",
    "reboot",
    "running",
    "shell",
    "start",
    "status",
    "stop",
    "unplug",
    "wait_boot",
]
