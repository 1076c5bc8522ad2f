"""A machine as a node of a cluster: what every place makes of its section."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from domain.names import ROUTER_LABEL, ROUTER_LABEL_VALUE


@dataclass(frozen=True)
class Node:
    """A machine as a node of the cluster. ``server_type`` only where the program makes the machine, ``host_key`` only
    for machines that exist, ``role`` None in an existing cluster.
    """

    name: str
    role: Literal["server", "agent"] | None
    router: bool
    address: IPv4Address
    server_type: str | None = None
    host_key: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the Node that are ours."""
        return {ROUTER_LABEL: ROUTER_LABEL_VALUE} if self.router else {}
