"""What a machine says of itself (domain/files/look-at-machine.sh), as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

LINES_LIMIT: Final = 5000
"""More lines than any machine has facts."""


@dataclass(frozen=True)
class MachineFacts:
    """``seconds`` is its clock, since 1970; sizes are in KiB. What it could not tell is None. ``units`` are those that
    run of the ones that matter, ``listens`` the TCP ports where somebody listens, ``hears`` those of UDP. Of places at
    other nodes, ADDRESS:PORT, nothing came back from those that are ``silent``, not even a refusal; those ``unheard``
    refused no packet of UDP. ``ours`` says that this program has been at work.
    """

    user: str
    root: bool
    architecture: str
    kernel: str
    systemd: bool
    hostname: str
    machine_id: str
    seconds: int | None
    memory_kib: int | None
    disk_kib: int | None
    memory_cgroup: bool
    vxlan: bool
    tun: bool
    ours: bool
    foreign_routes: bool
    addresses: frozenset[IPv4Address]
    links: frozenset[str]
    units: frozenset[str]
    there: tuple[str, ...]
    missing: tuple[str, ...]
    listens: frozenset[int]
    silent: frozenset[str]
    hears: frozenset[int]
    unheard: frozenset[str]


def machine_facts(said: str) -> MachineFacts | None:
    """The facts in what the script said; None where it did not come to its end."""
    facts: dict[str, list[str]] = {}
    for line in said.splitlines()[:LINES_LIMIT]:
        name, _, value = line.partition(" ")
        facts.setdefault(name, []).append(value.strip())
    if "end" not in facts:
        return None

    def first(name: str) -> str:
        return facts.get(name, [""])[0]

    def number(name: str) -> int | None:
        return int(first(name)) if first(name).isdecimal() else None

    off = {"ufw"} if "ufw" in facts else set()
    return MachineFacts(
        user=first("user"),
        root=first("root") == "yes",
        architecture=first("architecture"),
        kernel=first("kernel"),
        systemd=first("systemd") == "yes",
        hostname=first("hostname"),
        machine_id=first("machine_id"),
        seconds=number("time"),
        memory_kib=number("memory_kib"),
        disk_kib=number("disk_kib"),
        memory_cgroup=first("memory_cgroup") == "yes",
        vxlan=first("vxlan") == "yes",
        tun=first("tun") == "yes",
        ours=first("ours") == "yes",
        foreign_routes=first("foreign_routes") == "yes",
        addresses=frozenset(_addresses(facts.get("address", ()))),
        links=frozenset(facts.get("link", ())),
        units=frozenset(facts.get("unit", ())) - off,
        there=tuple(facts.get("there", ())),
        missing=tuple(facts.get("missing", ())),
        listens=_ports(facts.get("listens", ())),
        silent=frozenset(facts.get("silent", ())),
        hears=_ports(facts.get("hears", ())),
        unheard=frozenset(facts.get("unheard", ())),
    )


def _addresses(found: Sequence[str]) -> list[IPv4Address]:
    return [IPv4Address(address) for address in found if _is_address(address)]


def _is_address(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdecimal() and len(part) < 4 and int(part) < 256 for part in parts)


def _ports(found: Sequence[str]) -> frozenset[int]:
    return frozenset(int(port, 16) for port in found if _is_port(port))


def _is_port(text: str) -> bool:
    return 0 < len(text) < 5 and all(character in "0123456789abcdefABCDEF" for character in text)
