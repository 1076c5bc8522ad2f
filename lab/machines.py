"""The lab's machines: namespaces with a root file system of their own, in which the real systemd is process 1.

A machine has its network namespace `isthmus-<name>`, its control group, and a directory below `<state>/machines` with
the upper layer of its root. It can be switched off and on again, plugged into networks, entered. Every function may
be repeated and may be called by several processes at once: calls about one machine come one after the other. Only
root can do any of it.

What is in the file system is `lab.machine_files`'s knowledge, how networks are wired `lab.network`'s.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, Final, Literal

from lab import base, cgroups, machine_files, network, state
from lab.commands import run, wait_until
from lab.errors import CommandFailed, DeadlinePassed, MachineError
from lab.machine_files import HostKey
from lab.processes import Identity, children, identity, launch
from lab.topology import PREFIX

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
    "destroy",
    "exec",
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

INIT = Path(__file__).parent / "files" / "machine-init"
DATA_DIRECTORIES = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/rancher")
"""Directories on a real file system: an overlay, such as a container's root, can't have its upper layer on one."""

GRACE_SECONDS = 90.0
"""How long a machine may take to shut down before it is switched off."""

ENTER_DEADLINE_SECONDS = 180.0
"""From the machine's start to its init, less than a second on an idle machine: a guard against one that hangs."""
BOOT_DEADLINE_SECONDS = 600.0
"""Until systemd has worked off its start jobs, a few seconds on an idle machine: a guard."""
_POWER_OFF = signal.SIGRTMIN + 4
"""systemd's signal for a clean power-off (systemd(1), "SIGNALS")."""

_BOOTED: Final[dict[str, Literal["running", "degraded"]]] = {"running": "running", "degraded": "degraded"}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Public:
    """An interface on the Internet with a /32 address and the default route."""

    address: IPv4Address
    ifname: str = "eth0"


@dataclass(frozen=True, kw_only=True)
class Bridged:
    """An interface on the bridge of a private network or a LAN; with a gateway it carries the default route."""

    bridge_namespace: str
    ifname: str
    address: IPv4Interface
    mtu: int = 1500
    gateway: IPv4Address | None = None
    mac_address: str | None = None


Interface = Public | Bridged


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A directory of the host that the machine sees, read-only."""

    source: Path
    target: str


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A machine to be made. ``user_data`` and ``host_key`` hold secrets and are never shown."""

    name: str
    """Unique in the lab; the network namespace is `isthmus-<name>`."""
    hostname: str
    interfaces: tuple[Interface, ...] = ()
    user_data: str | None = field(default=None, repr=False)
    """What cloud-init gets; None switches cloud-init off."""
    authorized_keys: tuple[str, ...] = ()
    """Who may log in as root."""
    host_key: HostKey | None = None
    """None: with user data cloud-init makes one or takes that of the user data, without it one is generated."""
    binds: tuple[Bind, ...] = ()
    tree: Path | None = None
    """The base tree; None stands for the one that `lab.base` makes for machines."""


def create(spec: MachineSpec) -> None:
    """Makes the machine: files, network namespace, interfaces. It is off. No error if it is there."""
    if not _NAME.fullmatch(spec.name) or spec.name == cgroups.HELPERS:
        raise MachineError(
            f"machine name {spec.name!r}; it must be lower-case letters, digits and hyphens, and not 'helpers'"
        )
    with _locked(spec.name):
        directory = _directory(spec.name)
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
        machine_files.write(files, directory / "upper", tree)
        (directory / "upper").chmod(0o755)
        _write(
            spec.name,
            _Record(
                hostname=spec.hostname,
                tree=str(tree),
                interfaces=list(spec.interfaces),
                binds=list(spec.binds),
                boots=0,
                supervisor=None,
                init=None,
            ),
        )
        _connect(spec.name, spec.interfaces)


def start(name: str) -> None:
    """Switches the machine on and returns when its systemd runs, see :func:`wait_boot`. No error if it is on.

    At every start but the first the network namespace is made anew: nothing that a former boot left in it, such as
    links or packet filters, is there any more, and the interfaces have the same addresses.
    """
    with _locked(name):
        record = _read(name)
        if _alive(record) and (record.init is not None or _late_init(name, record)):
            return
        if record.supervisor is not None:
            # Of a start that did not get as far as an init.
            record.supervisor.signal(signal.SIGKILL)
        cgroups.kill(name)
        cgroups.remove(name)
        if record.boots:
            _disconnect(name, record.interfaces)
        _connect(name, record.interfaces)
        directory = _directory(name)
        binds = [word for bind in record.binds for word in (str(bind.source), bind.target)]
        command = init_command(
            directory, tree=Path(record.tree), hostname=record.hostname, binds=binds, group=cgroups.make(name)
        )
        # The outer process stays among the helpers: with version 2, nothing but the machine may be in its group.
        supervisor = launch(command, group=cgroups.HELPERS, log=console(name), netns=namespace(name))
        record.boots += 1
        record.supervisor = supervisor
        record.init = None
        _write(name, record)
        try:
            record.init = wait_until(
                lambda: _find_init(supervisor),
                what=f"machine {name} starts its init",
                deadline_seconds=ENTER_DEADLINE_SECONDS,
            )
        except DeadlinePassed:
            raise MachineError(f"machine {name} did not start its init; it said last:\n{_last_words(name)}") from None
        _write(name, record)


def _late_init(name: str, record: _Record) -> bool:
    """Completes the record of a machine whose start was killed before it knew the init; False when none comes."""
    assert record.supervisor is not None
    supervisor = record.supervisor
    with contextlib.suppress(DeadlinePassed):
        record.init = wait_until(
            lambda: _find_init(supervisor),
            what=f"machine {name} starts its init",
            deadline_seconds=ENTER_DEADLINE_SECONDS,
        )
        _write(name, record)
    return record.init is not None


def init_command(
    directory: Path, *, tree: Path, hostname: str, binds: Sequence[str], group: Sequence[Path]
) -> list[str]:
    """The command that turns into a machine's init. It is run in the machine's network namespace.

    First the new process namespace; its process 1 goes into the machine's control group and only then makes the cgroup
    namespace, whose root is thereby that group.
    """
    return [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
        *(str(cgroups.WRAPPER), *map(str, group), "--"),
        *("unshare", "--cgroup", str(INIT)),
        *(str(directory / "root"), str(tree), str(directory / "upper"), str(directory / "work")),
        *(hostname, str(directory / "data"), *binds),
    ]


def stop(name: str, *, graceful: bool = True) -> None:
    """Switches the machine off: by a clean shutdown, or at once, which also ends a shutdown that takes too long."""
    with _locked(name):
        record = _read(name)
        _stop(name, record, graceful=graceful)
        _write(name, record)


def _stop(name: str, record: _Record, *, graceful: bool) -> None:
    if graceful and record.init is not None and record.init.alive:
        record.init.signal(_POWER_OFF)
        with contextlib.suppress(DeadlinePassed):
            wait_until(lambda: not _alive(record), what=f"machine {name} shuts down", deadline_seconds=GRACE_SECONDS)
    if record.supervisor is not None:
        # Its end ends the machine's process 1, and that one's end ends all others.
        record.supervisor.signal(signal.SIGKILL)
    cgroups.kill(name)
    cgroups.remove(name)
    record.supervisor = record.init = None


def reboot(name: str, *, graceful: bool = True) -> None:
    """Stops the machine and starts it again; returns as :func:`start` does."""
    stop(name, graceful=graceful)
    start(name)


def destroy(name: str) -> None:
    """Switches the machine off at once and removes all of it, firewalls of its addresses too. No error if not there."""
    with _locked(name):
        directory = _directory(name)
        if not directory.exists():
            return
        if (directory / "machine.json").exists():
            record = _read(name)
            _stop(name, record, graceful=False)
            for interface in record.interfaces:
                if isinstance(interface, Public):
                    network.set_firewall(interface.address, None)
            _disconnect(name, record.interfaces)
        state.unmount_below(directory)
        # The record goes first: a machine that is half removed is none.
        (directory / "machine.json").unlink(missing_ok=True)
        shutil.rmtree(directory)


def plug(name: str, interface: Interface) -> str | None:
    """Adds an interface to the machine, at once and for every later boot.

    Returns the MAC address of a bridged one. An interface of that name that is there already is kept if it is the same,
    an error if not.
    """
    with _locked(name):
        record = _read(name)
        for present in record.interfaces:
            if present.ifname == interface.ifname:
                if present != interface:
                    raise MachineError(f"machine {name} has an interface {interface.ifname} already: {present}")
                break
        else:
            record.interfaces.append(interface)
            _write(name, record)
        return _connect_one(name, interface)


def unplug(name: str, ifname: str) -> None:
    """Takes an interface away, at once and for every later boot. No error if it is not there."""
    with _locked(name):
        record = _read(name)
        for interface in record.interfaces:
            if interface.ifname == ifname:
                _disconnect_one(name, interface)
        record.interfaces = [interface for interface in record.interfaces if interface.ifname != ifname]
        _write(name, record)


def interfaces(name: str) -> tuple[Interface, ...]:
    """The interfaces that the machine was given."""
    return tuple(_read(name).interfaces)


def running(name: str) -> bool:
    """True while the machine's init runs. One that shut itself down is off, and one that rebooted itself as well."""
    return (_directory(name) / "machine.json").exists() and _alive(_read(name))


def status(name: str) -> Literal["running", "off"]:
    """Whether the machine runs; :class:`~lab.errors.MachineError` if there is no such machine."""
    return "running" if _alive(_read(name)) else "off"


def boots(name: str) -> int:
    """How often the machine was started."""
    return _read(name).boots


def list_machines() -> list[str]:
    """The names of all machines, running or not."""
    return sorted(path.parent.name for path in (state.STATE / "machines").glob("*/machine.json"))


def namespace(name: str) -> str:
    """The name of the machine's network namespace."""
    return f"{PREFIX}{name}"


def init_pid(name: str) -> int:
    """The process id, as the host sees it, of the machine's init; :class:`~lab.errors.MachineError` when it is off."""
    record = _read(name)
    if record.init is None or not record.init.alive:
        raise MachineError(f"machine {name} is off")
    return record.init.pid


def exec(  # noqa: A001 - what it does is known by this name
    name: str,
    argv: Sequence[str],
    *,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    deadline_seconds: float = 120.0,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a command in the machine as root and returns its exit code and output, stdout and stderr apart.

    ``check`` makes a bad exit code a :class:`~lab.errors.MachineError`. Raises :class:`~lab.errors.DeadlinePassed`
    when it does not end in time.
    """
    # Ended in the machine, with all that it has started: the end of nsenter alone would end nothing in there.
    limited = ["timeout", "--signal=KILL", f"{deadline_seconds:g}", *argv]
    start = time.monotonic()
    result = subprocess.run(
        exec_command(name, limited, environment=environment),
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    # timeout(1) kills itself as well, and nsenter then follows.
    if result.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL) and time.monotonic() - start >= deadline_seconds:
        raise DeadlinePassed(f"machine {name}: {argv[0]} did not end within {deadline_seconds:g} s")
    if check and result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip())[-2000:]
        raise MachineError(f"machine {name}: {argv[0]} ended with code {result.returncode}: {said}")
    return result


def exec_command(name: str, argv: Sequence[str], *, environment: Mapping[str, str] | None = None) -> list[str]:
    """The command, to be run on the host, that runs ``argv`` in the machine."""
    variables = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **(environment or {})}
    entering = ["nsenter", f"--target={init_pid(name)}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
    settings = [f"{key}={value}" for key, value in variables.items()]
    return cgroups.wrap(f"{name}/{cgroups.EXECUTED}", [*entering, "--", "env", "-i", "-C", "/", *settings, *argv])


def shell(name: str, argv: Sequence[str] = ("bash", "--login")) -> int:
    """Runs a shell in the machine on our terminal; returns its exit code."""
    environment = {"TERM": os.environ.get("TERM", "linux"), "USER": "root"}
    return subprocess.run(exec_command(name, argv, environment=environment), check=False).returncode


def wait_boot(name: str, *, deadline_seconds: float = BOOT_DEADLINE_SECONDS) -> Literal["running", "degraded"]:
    """Waits until systemd has worked off its start jobs, cloud-init among them; "degraded" means that a unit failed.

    Raises :class:`~lab.errors.MachineError` when the machine goes off meanwhile, :class:`~lab.errors.DeadlinePassed`
    at the deadline with what systemd said last.
    """
    seen = ""

    def booted() -> Literal["running", "degraded"] | None:
        nonlocal seen
        if not running(name):
            raise MachineError(f"machine {name} went off while booting; it said last:\n{_last_words(name)}")
        # For a moment after its start it can't be entered, and on a busy machine no answer may come in time.
        with contextlib.suppress(MachineError, DeadlinePassed):
            seen = exec(name, ["systemctl", "is-system-running"]).stdout.strip()
        return _BOOTED.get(seen)

    def jobs() -> str:
        with contextlib.suppress(MachineError, DeadlinePassed):
            return f"{seen}; {exec(name, ['systemctl', 'list-jobs', '--no-legend']).stdout.strip()}"
        return f"{seen}; it does not answer"

    return wait_until(
        booted, what=f"machine {name} boots", deadline_seconds=deadline_seconds, state=jobs, every_seconds=0.1
    )


def console(name: str) -> Path:
    """The log of the machine's console, all boots: what is said before systemd runs. The rest is in :func:`journal`."""
    return _directory(name) / "console.log"


def journal(name: str, *arguments: str) -> str:
    """The machine's journal, read from outside: it works for a machine that is off. Arguments are journalctl's."""
    directory = _directory(name) / "upper" / "var/log/journal"
    return run(["journalctl", f"--directory={directory}", "--no-pager", "--quiet", *arguments])


def host_key(name: str) -> str | None:
    """The machine's public SSH host key, Ed25519; None as long as it has none."""
    path = _directory(name) / "upper" / "etc/ssh/ssh_host_ed25519_key.pub"
    try:
        return " ".join(path.read_text().split()[:2])
    except FileNotFoundError:
        return None


def generate_host_key(comment: str) -> HostKey:
    """A new key."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
        return HostKey(private=path.read_text(), public=path.with_suffix(".pub").read_text().strip())


# Networks


def _connect(name: str, wanted: Sequence[Interface]) -> None:
    network.create_namespace(namespace(name))
    for interface in wanted:
        _connect_one(name, interface)


def _connect_one(name: str, interface: Interface) -> str | None:
    if isinstance(interface, Public):
        network.attach_public(namespace(name), interface.address, ifname=interface.ifname)
        return None
    return network.plug(
        interface.bridge_namespace,
        namespace(name),
        interface.ifname,
        interface.address,
        mtu=interface.mtu,
        gateway=interface.gateway,
        mac_address=interface.mac_address,
    )


def _disconnect(name: str, present: Sequence[Interface]) -> None:
    """Removes the interfaces and the namespace; the interfaces first, as those of a deleted namespace go later."""
    for interface in present:
        _disconnect_one(name, interface)
    network.delete_namespace(namespace(name))


def _disconnect_one(name: str, interface: Interface) -> None:
    if isinstance(interface, Public):
        network.detach(interface.address)
    else:
        network.unplug(interface.bridge_namespace, namespace(name), interface.ifname)


# Processes


def _find_init(supervisor: Identity) -> Identity | None:
    """The machine's process 1, once it is systemd and no longer the script that builds the file system."""
    if not supervisor.alive:
        raise DeadlinePassed("the machine's first process ended")
    for pid in children(supervisor.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                return identity(pid)
    return None


def _alive(record: _Record) -> bool:
    return record.supervisor is not None and record.supervisor.alive


def _last_words(name: str, lines: int = 20) -> str:
    """The end of the console's log and of the journal."""
    said = ""
    with contextlib.suppress(OSError):
        said = "".join(f"{line}\n" for line in console(name).read_text(errors="replace").splitlines()[-lines:])
    with contextlib.suppress(CommandFailed):
        said += journal(name, f"--lines={lines}")
    return said


# Records


@dataclass(kw_only=True)
class _Record:
    """What is kept of a machine: everything but its files, and no secret."""

    hostname: str
    tree: str
    interfaces: list[Interface]
    binds: list[Bind]
    boots: int
    supervisor: Identity | None
    init: Identity | None


def _directory(name: str) -> Path:
    return state.STATE / "machines" / name


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    with state.locked(f".machine-{name}.lock"):
        yield


def _write(name: str, record: _Record) -> None:
    state.write_json(_directory(name) / "machine.json", _plain(asdict(record)))


def _plain(value: Any) -> Any:
    """Addresses and paths as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, IPv4Address | IPv4Interface | Path):
        return str(value)
    return value


def _read(name: str) -> _Record:
    record = state.read_json(_directory(name) / "machine.json")
    if record is None:
        raise MachineError(f"there is no machine {name}; there are: {', '.join(list_machines()) or 'none'}")
    return _Record(
        hostname=record["hostname"],
        tree=record["tree"],
        interfaces=[_interface(each) for each in record["interfaces"]],
        binds=[Bind(source=Path(each["source"]), target=each["target"]) for each in record["binds"]],
        boots=record["boots"],
        supervisor=Identity(**record["supervisor"]) if record["supervisor"] else None,
        init=Identity(**record["init"]) if record["init"] else None,
    )


def _interface(record: Mapping[str, Any]) -> Interface:
    if "bridge_namespace" not in record:
        return Public(address=IPv4Address(record["address"]), ifname=record["ifname"])
    gateway = IPv4Address(record["gateway"]) if record["gateway"] else None
    return Bridged(**{**record, "address": IPv4Interface(record["address"]), "gateway": gateway})
