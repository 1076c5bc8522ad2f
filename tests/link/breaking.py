"""What tests break the lab with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab import machines
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.project import Tools
from lab.verify.checks import World


@dataclass
class LabToBreak:
    """A lab that runs, with its probe pods."""

    tools: Tools
    clusters: Mapping[str, Cluster]
    netbird: NetBirdApi
    world: World

    def router(self, name: str) -> str:
        """The router node of a cluster."""
        return self.world.probes[name].router.node

    def on_router(self, name: str, *command: str) -> str:
        """What a command there says that has to go well."""
        return machines.exec(self.router(name), command, check=True).stdout
