"""A machine as a node of a cluster: what every place makes of its section."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated, Final, Literal

from pydantic import Field, StrictInt

from domain.names import ROUTER_LABEL, ROUTER_LABEL_VALUE

FIRST_GENERATION: Final = 1
Generation = Annotated[StrictInt, Field(ge=FIRST_GENERATION, le=9999)]
"""How often a machine was made a node: with a higher number it is made anew, see ``generation.py``."""

Architecture = Literal["amd64", "arm64"]
"""As Kubernetes and the files of k3s's releases call it."""


@dataclass(frozen=True)
class Order:
    """How a machine is ordered that the program makes. ``setting`` is that of its group in the stack file, ``pool`` the
    name of that group among the pools, and ``placement`` is its placement group's, behind the cluster's; both are empty
    for what was there before there were pools.
    """

    setting: str
    location: str
    image: str
    pool: str = ""
    placement: str = ""


@dataclass(frozen=True)
class Marks:
    """What a stack file wants of a Node, beside the program's own: ``labels`` as name and value, and ``taints`` in the
    form of ``kubectl taint``.
    """

    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """A machine as a node of the cluster. ``server_type`` and ``order`` only where the program makes the machine,
    ``host_key`` only for machines that exist, ``role`` None in an existing cluster.
    """

    name: str
    role: Literal["server", "agent"] | None
    router: bool
    address: IPv4Address
    server_type: str | None = None
    host_key: str | None = None
    order: Order | None = None
    architecture: Architecture = "amd64"
    marks: Marks = Marks()
    generation: int = FIRST_GENERATION

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the Node that are ours."""
        return {ROUTER_LABEL: ROUTER_LABEL_VALUE} if self.router else {}
