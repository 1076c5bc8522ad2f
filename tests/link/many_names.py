"""A lab with names of the other cluster to ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from lab.names import manifests
from lab.project import Tools
from lab.reporting import Silent
from lab.topology import DEFAULT
from lab.verify.checks import World
from lab.verify.run import world_of

ENDPOINTS: Final = 100
"""Of the service with many names: more addresses than a datagram holds."""


@contextlib.contextmanager
def world_with_names(tools: Tools) -> Iterator[World]:
    """Probe pods, and in both clusters services with one address and with many."""
    with world_of(DEFAULT, tools, Silent()) as made:
        for probes in made.probes.values():
            probes.cluster.apply(manifests(ENDPOINTS))
        yield made
