"""Reads what a stack's last update left in its outputs. What is missing, or has another form, is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

RAISED_WITH: Final = "raised_with"
"""Output of a stack: what its cluster was raised with and can't leave."""
PLAIN: Final = re.compile(r"[A-Za-z0-9./:_-]{1,64}", re.ASCII)
"""What an output may hold to be shown in a message."""


def part(outputs: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    """The output of that name, empty where it is no object."""
    found = outputs.get(name)
    return found if isinstance(found, Mapping) else {}


def nodes_that_run(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Name -> address."""
    return {
        name: address
        for name, address in part(outputs, "node_ips").items()
        if isinstance(name, str) and isinstance(address, str) and PLAIN.fullmatch(name) and PLAIN.fullmatch(address)
    }


def raised_routers(outputs: Mapping[str, Any]) -> list[str]:
    """The names of the nodes that carry the link, from the output of their NetBird addresses, else from what the peers
    read. None where the last update noted neither.
    """
    link = part(outputs, "link").get("routers")
    noted = [
        list(part(outputs, "router_peers")),
        [one.get("node") for one in link if isinstance(one, Mapping)] if isinstance(link, list) else [],
    ]
    for names in noted:
        if isinstance(names, list) and names and all(isinstance(name, str) and PLAIN.fullmatch(name) for name in names):
            return names
    return []


def raised_servers(outputs: Mapping[str, Any]) -> list[str]:
    """The names of the servers that run; none where the last update didn't note them."""
    names = part(outputs, RAISED_WITH).get("servers")
    if not isinstance(names, list) or not all(isinstance(name, str) and PLAIN.fullmatch(name) for name in names):
        return []
    return names


def router_moves(was: str, now: str) -> str:
    """The rule that a router broke that is to be another node. A node gets the router's label when it joins, and
    NetBird's agent stays where it was started: a link that is moved to a node that runs would carry nothing, and say
    nothing of it.
    """
    return f"moves the link's router from {was}, where it runs, to {now}, which would never carry it"


def anew(stack: str) -> str:
    """The commands that raise a cluster anew."""
    return f"`pulumi destroy -s {stack}`, then `pulumi up -s {stack}`"
