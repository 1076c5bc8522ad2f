"""What is kept of each machine, and where its files lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from lab import state
from lab.errors import MachineError
from lab.machines.model import Bind, Bridged, Interface, Public
from lab.processes import Identity
from lab.topology import PREFIX


@dataclass(kw_only=True)
class Record:
    """What is kept of a machine: everything but its files, and no secret."""

    hostname: str
    tree: str
    interfaces: list[Interface]
    binds: list[Bind]
    boots: int
    supervisor: Identity | None
    init: Identity | None


def home(name: str) -> Path:
    """The directory of a machine."""
    return state.STATE / "machines" / name


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Calls about one machine come one after the other, whichever process makes them."""
    with state.locked(f".machine-{name}.lock"):
        yield


def write_record(name: str, record: Record) -> None:
    """Keeps the record."""
    state.write_json(home(name) / "machine.json", plain(asdict(record)))


def plain(value: Any) -> Any:
    """Addresses and paths as text."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, IPv4Address | IPv4Interface | Path):
        return str(value)
    return value


def read_record(name: str) -> Record:
    """The record; :class:`~lab.errors.MachineError` when there is no such machine."""
    record = state.read_json(home(name) / "machine.json")
    if record is None:
        raise MachineError(f"there is no machine {name}; there are: {', '.join(list_machines()) or 'none'}")
    return Record(
        hostname=record["hostname"],
        tree=record["tree"],
        interfaces=[interface_of(interface) for interface in record["interfaces"]],
        binds=[Bind(source=Path(bind["source"]), target=bind["target"]) for bind in record["binds"]],
        boots=record["boots"],
        supervisor=Identity(**record["supervisor"]) if record["supervisor"] else None,
        init=Identity(**record["init"]) if record["init"] else None,
    )


def interface_of(record: Mapping[str, Any]) -> Interface:
    """An interface as it was kept."""
    if "bridge_namespace" not in record:
        return Public(address=IPv4Address(record["address"]), ifname=record["ifname"])
    gateway = IPv4Address(record["gateway"]) if record["gateway"] else None
    return Bridged(**{**record, "address": IPv4Interface(record["address"]), "gateway": gateway})


def alive(record: Record) -> bool:
    """Whether the machine runs."""
    return record.supervisor is not None and record.supervisor.alive


def list_machines() -> list[str]:
    """The names of all machines, running or not."""
    return sorted(path.parent.name for path in (state.STATE / "machines").glob("*/machine.json"))


def namespace(name: str) -> str:
    """The name of the machine's network namespace."""
    return f"{PREFIX}{name}"
