"""The own node: what is looked at, and the hand that mends it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from keeper import netlink, nftables, programs, wireguard
from keeper.mending import Mend, NodeFacts
from keeper.netlink import NETLINK_NETFILTER, Netlink, Rule
from keeper.nftables import Piece
from keeper.wireguard import AgentSilent, Device

NETBIRD_TABLE: Final = 7120
MAIN_TABLE: Final = 254
CILIUM_INTERFACE: Final = "cilium_host"
NETBIRD_PRIORITIES: Final = (105, 110)
"""Its rules: the main table without the default route, then its own table (0.77)."""
FORWARDING: Final = (Path("/host/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv4/ip_forward"))
"""As the node mounts it for the keeper, where it may write; else as any process sees it."""


class OwnNode:
    """Looks at this network namespace and changes it."""

    def __init__(self, sockets: Path = wireguard.SOCKETS, forwarding: Iterable[Path] = FORWARDING) -> None:
        self._sockets = sockets
        self._forwarding = [path for path in forwarding if path.exists()]
        self._route = Netlink()
        self._filter: Netlink | None = None
        self._found: tuple[bool, tuple[Piece, ...]] = (True, ())
        self._found_at = b""
        with contextlib.suppress(OSError):
            self._filter = Netlink(NETLINK_NETFILTER)

    async def look(self, interface: str) -> tuple[NodeFacts, Device | None]:
        """One look: the node's facts, and WireGuard's device where somebody can be asked."""
        link = netlink.interface(self._route, interface)
        device, silent = None, False
        if link is not None:
            try:
                device = await wireguard.look(interface, self._sockets)
            except AgentSilent:
                silent = True
            # Waiting for the agent took time.
            link = netlink.interface(self._route, interface)
        filtering, tables = self._filters()
        facts = NodeFacts(
            forwarding=self._forwards(),
            interface=link,
            address=netlink.address_of(self._route, link.index) if link else "",
            rules=tuple(rule for rule in netlink.rules(self._route) if _netbirds(rule)),
            routes=tuple(netlink.routes(self._route, NETBIRD_TABLE)),
            filtering=filtering,
            tables=tables,
            silent=silent,
            led=programs.led(self._route, interface) if link and link.up else None,
        )
        return facts, device

    def inner_address(self, pod_cidr: str) -> str:
        """The address that Cilium gives this node in the pod range, empty where it has none."""
        link = netlink.interface(self._route, CILIUM_INTERFACE)
        address = netlink.address_of(self._route, link.index) if link else ""
        return address if address and IPv4Address(address) in IPv4Network(pod_cidr) else ""

    def routed(self, ranges: Iterable[str], index: int) -> bool:
        """Whether packets for all of these ranges leave by this interface."""
        return all(netlink.leaves_by(self._route, range_) == index for range_ in ranges)

    def mend(self, action: Mend, interface: str) -> None:
        """Does what has to be done here; an agent is started anew by Kubernetes. OSError when the kernel refuses."""
        if action.what == "forwarding":
            self._forward()
        link = netlink.interface(self._route, interface)
        if action.what == "interface" and link is not None:
            netlink.set_up(self._route, link.index)
        for raw in action.rules:
            netlink.add_rule(self._route, raw)
        for raw in action.routes:
            netlink.add_route(self._route, raw)
        if action.tables and self._filter is not None:
            nftables.lay(self._filter, action.tables)

    def _forwards(self) -> bool:
        return not self._forwarding or self._forwarding[-1].read_text().strip() != "0"

    def _forward(self) -> None:
        problem: OSError | None = None
        for path in self._forwarding:
            try:
                path.write_text("1\n")
            except OSError as error:
                problem = error
            else:
                return
        if problem:
            raise problem

    def _filters(self) -> tuple[bool, tuple[Piece, ...]]:
        """Whether nftables has chains of NetBird's, and its own tables: read only after a change of any rules, and as
        they were while they change or can't be read.
        """
        if self._filter is None:
            return self._found
        with contextlib.suppress(OSError):
            at = nftables.generation(self._filter)
            if at != self._found_at:
                there = any(_is_netbirds(table) or _is_netbirds(name) for table, name in netlink.chains(self._filter))
                tables = nftables.taken_down(self._filter, _is_netbirds)
                self._found = (there, self._found[1] if tables is None else tables)
                self._found_at = b"" if tables is None else at
        return self._found


def _is_netbirds(name: str) -> bool:
    return "netbird" in name.lower()


def _netbirds(rule: Rule) -> bool:
    if rule.to or rule.priority not in NETBIRD_PRIORITIES:
        return False
    return rule.table in (NETBIRD_TABLE, MAIN_TABLE)
