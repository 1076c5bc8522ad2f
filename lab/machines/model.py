"""What a machine is asked to be, and what it is plugged into."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from lab.machine_files import HostKey


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
