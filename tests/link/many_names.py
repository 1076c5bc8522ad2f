"""A lab with names of the other cluster to ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from lab.commands import wait_until
from lab.names import SERVICE, manifests
from lab.project import Tools
from lab.reporting import Silent
from lab.topology import DEFAULT, VERIFY_NAMESPACE, Site
from lab.verify.checks import World
from lab.verify.run import world_of

ENDPOINTS: Final = 100
"""Of the service with many names: more addresses than a datagram holds."""
KNOWN_SECONDS: Final = 60.0
"""For the names of services that were just made, and to forget that there were none."""


@contextlib.contextmanager
def world_with_names(tools: Tools) -> Iterator[World]:
    """Probe pods, and in both clusters services with one address and with many, whose names both know."""
    with world_of(DEFAULT, tools, Silent()) as made:
        for probes in made.probes.values():
            probes.cluster.apply(manifests(ENDPOINTS))
        for source, target in DEFAULT.directions():
            wait_until(
                lambda ends=(source, target): _known(made, *ends),  # type: ignore[misc]
                what=f"{source.name} knows the names of {target.name}",
                deadline_seconds=KNOWN_SECONDS,
                every_seconds=0.2,
            )
        yield made


def _known(world: World, source: Site, target: Site) -> bool:
    """All addresses of the last name that comes; over TCP, as they are more than a datagram holds."""
    name = f"{SERVICE}.{VERIFY_NAMESPACE}.svc.{target.ranges.dns_zone}"
    answer = world.sessions[source.name, "other"].ask("dns", name=name, type="A", tcp=True, seconds=5)
    return len(answer.get("records", ())) == ENDPOINTS
