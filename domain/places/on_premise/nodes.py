"""Machines that exist as nodes of a cluster."""

from __future__ import annotations

from domain.nodes import Node
from domain.places.on_premise.model import OnPremiseSettings
from domain.settings.draft import known
from domain.settings.stack import CommonSettings


def nodes(settings: CommonSettings, section: OnPremiseSettings) -> tuple[Node, ...]:
    """Servers first, in the order of the file."""
    machines = sorted(section.machines, key=lambda machine: machine.role != "server")
    return tuple(
        Node(
            name=machine.name,
            role=machine.role,
            router=machine.router,
            address=machine.address,
            host_key=machine.host_key,
            generation=machine.generation,
        )
        for machine in machines
    )


def node_count(settings: object) -> int | None:
    """How many machines there are, None where that is unknown."""
    machines = known(settings, "on_premise", "machines")
    return len(machines) if machines else None
