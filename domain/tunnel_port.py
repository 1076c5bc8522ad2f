"""The UDP port of Cilium's tunnel between the nodes, and what else has one there.

It owns what the port may be. Some networks drop or take away packets to the usual one: VMware's NSX does
(https://github.com/cilium/cilium/issues/21801).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StrictInt

from domain.names import RELAY_PORT, VXLAN_PORT
from domain.problems import Problem
from domain.values.rule_error import RuleError

TAKEN: Final = {RELAY_PORT: "the DNS relay listens on the router", 51871: "Cilium has its own WireGuard"}
"""UDP ports of nodes that are in use, with what has each of them."""
NODE_PORTS: Final = range(30000, 32768)
"""Kubernetes gives services of the kinds NodePort and LoadBalancer their ports here."""


def tunnel_port(value: int) -> int:
    """None of the UDP ports that are taken on a node, and none that Kubernetes may give to a service."""
    if value in TAKEN:
        raise RuleError(f"is the port where {TAKEN[value]}", f"take {VXLAN_PORT} or another one that is free")
    if value in NODE_PORTS:
        rule = f"is one of {NODE_PORTS[0]} to {NODE_PORTS[-1]}, which Kubernetes gives to services"
        raise RuleError(rule, f"take {VXLAN_PORT} or another one that is free")
    return value


TunnelPort = Annotated[StrictInt, Field(ge=1024, le=65535), AfterValidator(tunnel_port)]


def ports_differ(stack: str, wireguard: int | None, tunnel: int | None) -> Iterator[Problem]:
    """NetBird's WireGuard and Cilium's tunnel have a port each."""
    if wireguard is None or wireguard != tunnel:
        return
    if tunnel == VXLAN_PORT:
        rule, fix = (
            "is the port where Cilium has its tunnel between the nodes",
            "take 51820 or another one that is free",
        )
        yield Problem(stack, "netbird.wireguard_port", str(wireguard), rule, fix)
    else:
        rule = "is that of netbird.wireguard_port, too"
        yield Problem(stack, "cilium.tunnel_port", str(tunnel), rule, f"take {VXLAN_PORT} or another one that is free")
