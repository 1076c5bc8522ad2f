"""The access line of a site behind a NAT: its MTU, and what crosses it. For tests; a lab has lines of 1500 bytes.

It owns both ends of that line, the Internet's port towards the site and the NAT router's interface, and tables of
counters on interfaces. The tables are there only while somebody looks, and see every packet before connection tracking
puts fragments together again. It can also cut a single machine off from the Internet, which leaves it its private net.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from lab import machines, network, topology
from lab.commands import run
from lab.errors import CommandFailed, MachineError
from lab.topology import WAN_NAMESPACE, OnPremiseSite

INTERFACE: Final = "wan0"
"""The NAT router's end."""
FULL_MTU: Final = 1500
"""Of every line of the lab that nobody has changed; bytes of whole IP packets."""
TABLE: Final = "isthmus_line"

End = tuple[str, str]
"""Where packets arrive: a network namespace and its interface."""


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """Packets since the watch began: fragments of larger ones, and UDP packets of exactly the watched length."""

    fragments: int
    of_length: int


def mtu(site: OnPremiseSite) -> int:
    """The line's MTU in bytes, as the NAT router has it."""
    shown = json.loads(run(["ip", "-json", "-netns", site.nat_namespace, "link", "show", "dev", INTERFACE]))
    return int(shown[0]["mtu"])


def set_mtu(site: OnPremiseSite, size: int) -> None:
    """Gives both ends of the line this MTU, in bytes. What is longer is broken up, or refused where it must not be.

    What the lab's hosts have learned of the path before is forgotten: they would send short packets for 10 minutes.
    """
    for namespace, interface in ends(site).values():
        network.batch(namespace, [f"link set {interface} mtu {size}"])
    hosts = [topology.SERVICES_NAMESPACE, topology.WORKSTATION_NAMESPACE, site.nat_namespace, WAN_NAMESPACE]
    for namespace in [*hosts, *map(machines.namespace, machines.list_machines())]:
        network.set_sysctls(namespace, {"net/ipv4/route/flush": "1"})


@contextlib.contextmanager
def of_mtu(site: OnPremiseSite, size: int) -> Iterator[None]:
    """A line of this MTU for the block; it has its old one afterwards, whatever happens."""
    before = mtu(site)
    set_mtu(site, size)
    try:
        yield
    finally:
        set_mtu(site, before)


def ends(site: OnPremiseSite) -> dict[str, End]:
    """Where what goes ``out`` of the site arrives, and what comes ``in``."""
    return {
        "out": (WAN_NAMESPACE, network.public_port(site.public_address)),
        "in": (site.nat_namespace, INTERFACE),
    }


@contextlib.contextmanager
def watched(places: Mapping[str, End], *, length: int) -> Iterator[Callable[[], dict[str, Arrived]]]:
    """Counts what arrives at these places, each in a namespace of its own; the function tells the counts so far.

    ``length`` is in bytes of whole IP packets. UDP packets are counted, as WireGuard's and VXLAN's are.
    """
    try:
        for namespace, interface in places.values():
            run(network.enter(namespace, ["nft", "-f", "-"]), text=counters(interface, length))
        yield lambda: {name: _counted(namespace) for name, (namespace, _) in places.items()}
    finally:
        for namespace, _ in places.values():
            with contextlib.suppress(CommandFailed):
                run(network.enter(namespace, ["nft", "delete", "table", "ip", TABLE]))


def counters(interface: str, length: int) -> str:
    """The input of `nft -f -` that makes the table of counters anew, all of them 0. Pure."""
    # Connection tracking puts fragments together at priority -400 (NF_IP_PRI_CONNTRACK_DEFRAG).
    return f"""table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
    counter fragments {{
    }}
    counter of_length {{
    }}
    chain arriving {{
        type filter hook prerouting priority -450; policy accept;
        iifname "{interface}" ip frag-off & 0x3fff != 0 counter name fragments
        iifname "{interface}" ip protocol udp ip length {length} counter name of_length
    }}
}}
"""


def parse_counters(text: str) -> Arrived:
    """The counts in what `nft --json list counters` says of the table. Pure."""
    listed = json.loads(text)["nftables"]
    found = {item["counter"]["name"]: int(item["counter"]["packets"]) for item in listed if "counter" in item}
    return Arrived(fragments=found["fragments"], of_length=found["of_length"])


def cut(machine: str) -> None:
    """Nothing gets from the machine to the Internet or back any more, and nobody is told; its LAN or private network
    stays. No error if it is cut already.
    """
    namespace, address = _way_out(machine)
    run(network.enter(namespace, ["nft", "-f", "-"]), text=cutting(address))


def mend(machine: str) -> None:
    """Takes :func:`cut` back. No error if nothing was cut."""
    namespace, address = _way_out(machine)
    run(network.enter(namespace, ["nft", "-f", "-"]), text="".join(cutting(address).splitlines(keepends=True)[:2]))


def cutting(address: IPv4Address) -> str:
    """The input of `nft -f -` that drops all that goes through for this address; the first two lines undo it. Pure."""
    table = f"isthmus_cut_{int(address):08x}"
    return f"""table ip {table}
delete table ip {table}
table ip {table} {{
    chain forward {{
        type filter hook forward priority -10; policy accept;
        ip saddr {address} drop
        ip daddr {address} drop
    }}
}}
"""


def _way_out(machine: str) -> tuple[str, IPv4Address]:
    """The namespace that forwards what the machine sends to the Internet, and the machine's address there."""
    for interface in machines.interfaces(machine):
        if isinstance(interface, machines.Public):
            return WAN_NAMESPACE, interface.address
    for interface in machines.interfaces(machine):
        if isinstance(interface, machines.Bridged) and interface.gateway is not None:
            return interface.bridge_namespace, interface.address.ip
    raise MachineError(f"machine {machine} has no way to the Internet that could be cut")


def _counted(namespace: str) -> Arrived:
    return parse_counters(run(network.enter(namespace, ["nft", "--json", "list", "counters", "table", "ip", TABLE])))
