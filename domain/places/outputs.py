"""Reads what a stack's last update left in its outputs. What is missing, or has another form, is not there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from domain.nodes import Node

RAISED_WITH: Final = "raised_with"
"""Output of a stack: what its cluster was raised with and can't leave."""
GENERATIONS: Final = "generations"
"""In it: the generation of each node, by name."""
K3S_VERSION: Final = "k3s_version"
"""In it: the k3s that all nodes run."""
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


def machines_called(outputs: Mapping[str, Any], place: str, names: Collection[str]) -> list[str]:
    """Those of these names that machines have which run in the place of that name."""
    if part(outputs, RAISED_WITH).get("access") != place:
        return []
    return sorted(nodes_that_run(outputs).keys() & {*names})


def k3s_noted(outputs: Mapping[str, Any]) -> str | None:
    """The k3s that all nodes ran after the last update; None where it is not noted."""
    noted = part(outputs, RAISED_WITH).get(K3S_VERSION)
    return noted if isinstance(noted, str) else None


def generations_noted(outputs: Mapping[str, Any]) -> dict[str, int] | None:
    """Those of the last update; None where it was of a program that knew none, or of no cluster of ours."""
    noted = part(outputs, RAISED_WITH).get(GENERATIONS)
    if not isinstance(noted, Mapping):
        return None
    return {str(name): int(number) for name, number in noted.items() if isinstance(number, int | float)}


def made_anew(outputs: Mapping[str, Any], nodes: Iterable[Node]) -> list[str]:
    """The nodes whose number is higher than at the last update."""
    noted = generations_noted(outputs) or {}
    return [node.name for node in nodes if node.generation > noted.get(node.name, node.generation)]


def raised_servers(outputs: Mapping[str, Any]) -> list[str]:
    """The names of the servers that run; none where the last update didn't note them."""
    names = part(outputs, RAISED_WITH).get("servers")
    if not isinstance(names, list) or not all(isinstance(name, str) and PLAIN.fullmatch(name) for name in names):
        return []
    return names


def anew(stack: str) -> str:
    """The commands that raise a cluster anew."""
    return f"`pulumi destroy -s {stack}`, then `pulumi up -s {stack}`"
