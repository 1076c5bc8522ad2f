"""The cloud provider's firewalls as nftables rules of the Internet's router: they stand outside of the machines. Pure.

A firewall guards one public address and keeps state: replies always pass. With a firewall, only what a rule allows
comes in; everything goes out, unless there are rules of direction "out", which then are all that may go out. Without
a firewall everything passes. (https://docs.hetzner.com/cloud/firewalls/overview/)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Literal

TABLE = "isthmus_firewalls"
Direction = Literal["in", "out"]
Protocol = Literal["tcp", "udp", "icmp", "esp", "gre"]
_PORT = re.compile(r"\d+(-\d+)?")


@dataclass(frozen=True, kw_only=True)
class FirewallRule:
    """What is allowed; the fields mean what they mean in the provider's API."""

    direction: Direction
    protocol: Protocol
    port: str | None = None
    """Of tcp and udp: "80", "80-85", "any" or None for any."""
    source_ips: tuple[str, ...] = ()
    """Of direction "in": CIDRs, IPv4 or IPv6. The lab has no public IPv6, so those of IPv6 allow nothing."""
    destination_ips: tuple[str, ...] = ()
    """Of direction "out"."""

    def __post_init__(self) -> None:
        if self.protocol not in ("tcp", "udp", "icmp", "esp", "gre"):
            raise ValueError(f"firewall rule with protocol {self.protocol!r}; it must be tcp, udp, icmp, esp or gre")
        if self.port not in (None, "any") and not _PORT.fullmatch(str(self.port)):
            raise ValueError(f"firewall rule with port {self.port!r}; it must be a port, a range such as 80-85, or any")


def render_firewalls(firewalls: Mapping[IPv4Address, Sequence[FirewallRule]]) -> str:
    """The input of `nft -f -` that replaces all firewalls in one transaction; equal input gives equal text.

    A chain returns where a rule allows, and drops at its end: an allowed packet of one guarded machine to another must
    pass the first one's way out and the second one's way in.
    """
    lines = [f"table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
    maps: dict[Direction, list[str]] = {"out": [], "in": []}
    for address in sorted(firewalls):
        rules = firewalls[address]
        for direction, elements in maps.items():
            own = [rule for rule in rules if rule.direction == direction]
            if direction == "out" and not own:
                continue
            chain = f"{direction}_{str(address).replace('.', '_')}"
            elements.append(f"{address} : jump {chain}")
            matches = [match for rule in own for match in _matches(rule)]
            lines += [f"  chain {chain} {{", *(f"    {match} return" for match in matches), "    drop", "  }"]
    lines += ["  chain forward {", "    type filter hook forward priority 0; policy accept;"]
    lines += ["    ct state established,related accept"]
    for direction, field in (("out", "saddr"), ("in", "daddr")):
        elements = maps["out" if direction == "out" else "in"]
        if elements:
            lines.append(f"    ip {field} vmap {{ {', '.join(elements)} }}")
    lines += ["  }", "}", ""]
    return "\n".join(lines)


def _matches(rule: FirewallRule) -> list[str]:
    """The match of a rule, or none when it speaks of IPv6 only."""
    networks = rule.source_ips if rule.direction == "in" else rule.destination_ips
    ipv4 = sorted({str(network) for network in map(_network, networks) if network.version == 4})
    if not ipv4:
        return []
    parts = []
    if "0.0.0.0/0" not in ipv4:
        field = "saddr" if rule.direction == "in" else "daddr"
        # Members of a set with intervals must not overlap, rules may: one match for each.
        parts = [f"ip {field} {network} " for network in ipv4]
    return [f"{part}{_protocol(rule)}" for part in parts or [""]]


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _protocol(rule: FirewallRule) -> str:
    if rule.protocol in ("tcp", "udp") and rule.port not in (None, "any"):
        return f"{rule.protocol} dport {rule.port}"
    return f"ip protocol {rule.protocol}"
