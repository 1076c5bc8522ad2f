"""Machines are made, plugged into networks, and removed."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from lab import base, cgroups, machine_files, network, state
from lab.commands import run
from lab.errors import MachineError
from lab.machine_files import HostKey
from lab.machines.model import Interface, MachineSpec, Public
from lab.machines.power import switch_off
from lab.machines.records import Record, home, locked, namespace, read_record, write_record
from lab.machines.wiring import connect, connect_one, disconnect, disconnect_one

DATA_DIRECTORIES = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/rancher")
"""Directories on a real file system: an overlay, such as a container's root, can't have its upper layer on one."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?")


def create(spec: MachineSpec) -> None:
    """Makes the machine: files, network namespace, interfaces. It is off. No error if it is there."""
    if not _NAME.fullmatch(spec.name) or spec.name == cgroups.HELPERS:
        raise MachineError(
            f"machine name {spec.name!r}; it must be lower-case letters, digits and hyphens, and not 'helpers'"
        )
    with locked(spec.name):
        directory = home(spec.name)
        if (directory / "machine.json").exists():
            return
        if network.exists(namespace(spec.name)):
            raise MachineError(f"machine {spec.name}: the network namespace {namespace(spec.name)} is something else's")
        # Left by a process that was killed before the record, which is the last step, was written.
        shutil.rmtree(directory, ignore_errors=True)
        tree = spec.tree or base.ensure_machine_tree()
        for name in ("root", "upper", "work"):
            (directory / name).mkdir(parents=True, mode=0o755)
        for path in DATA_DIRECTORIES:
            (directory / "data" / path.strip("/").replace("/", "+")).mkdir(parents=True)
        key = spec.host_key
        if key is None and spec.user_data is None:
            key = generate_host_key(spec.hostname)
        files = machine_files.machine_files(
            hostname=spec.hostname,
            user_data=spec.user_data,
            authorized_keys=spec.authorized_keys,
            host_key=key,
            machine_id=machine_files.new_machine_id(),
            instance_id=f"i-{machine_files.new_machine_id()[:12]}",
        )
        interfaces = [with_address(interface) for interface in spec.interfaces]
        machine_files.write(files, directory / "upper", tree)
        (directory / "upper").chmod(0o755)
        write_record(
            spec.name,
            Record(
                hostname=spec.hostname,
                tree=str(tree),
                interfaces=interfaces,
                binds=list(spec.binds),
                boots=0,
                supervisor=None,
                init=None,
            ),
        )
        connect(spec.name, interfaces)


def with_address(interface: Interface) -> Interface:
    """With a MAC address that is its own from boot to boot, as that of a network card is: who has sent to it before
    would else send to the former one, for half a minute or more. A machine that is made anew has another.
    """
    if isinstance(interface, Public) or interface.mac_address is not None:
        return interface
    return replace(interface, mac_address=f"02:{secrets.token_bytes(5).hex(':')}")  # 02: one that no maker has


def destroy(name: str) -> None:
    """Switches the machine off at once and removes all of it, firewalls of its addresses too. No error if not there."""
    with locked(name):
        directory = home(name)
        if not directory.exists():
            return
        if (directory / "machine.json").exists():
            record = read_record(name)
            switch_off(name, record, graceful=False)
            for interface in record.interfaces:
                if isinstance(interface, Public):
                    network.set_firewall(interface.address, None)
            disconnect(name, record.interfaces)
        state.unmount_below(directory)
        # The record goes first: a machine that is half removed is none.
        (directory / "machine.json").unlink(missing_ok=True)
        shutil.rmtree(directory)


def plug(name: str, interface: Interface) -> str | None:
    """Adds an interface to the machine, at once and for every later boot.

    Returns the MAC address of a bridged one. An interface of that name that is there already is kept if it is the same,
    an error if not.
    """
    with locked(name):
        record = read_record(name)
        for present in record.interfaces:
            if present.ifname == interface.ifname:
                if present != interface:
                    raise MachineError(f"machine {name} has an interface {interface.ifname} already: {present}")
                break
        else:
            record.interfaces.append(interface)
            write_record(name, record)
        return connect_one(name, interface)


def unplug(name: str, ifname: str) -> None:
    """Takes an interface away, at once and for every later boot. No error if it is not there."""
    with locked(name):
        record = read_record(name)
        for interface in record.interfaces:
            if interface.ifname == ifname:
                disconnect_one(name, interface)
        record.interfaces = [interface for interface in record.interfaces if interface.ifname != ifname]
        write_record(name, record)


def generate_host_key(comment: str) -> HostKey:
    """A new key."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
        return HostKey(private=path.read_text(), public=path.with_suffix(".pub").read_text().strip())
