"""When new probe pods are known everywhere: what the checks ask once is asked here until it is answered."""

from __future__ import annotations

import contextlib
from typing import Final

from lab.commands import wait_until
from lab.errors import DeadlinePassed
from lab.verify.checks import World
from lab.verify.sessions import Session
from lab.verify.workload import BACKENDS, PLACEMENTS, PORT, SERVICE_PORT, STICKY, Placement, Probes, cluster_ip_service

SETTLE_DEADLINE_SECONDS: Final = 30.0
"""New pods need a moment until every agent has them in its egress map and their names are known."""
LOOK_EVERY_SECONDS: Final = 0.3


def settle(world: World) -> None:
    """Waits until each pod gets through to all of every other cluster, and each cluster knows its own name; a broken
    link is left to the checks.
    """
    ways: set[tuple[str, Placement, str]] = {
        (source.name, placement, target.name) for source, target in world.lab.directions() for placement in PLACEMENTS
    }
    # The own name is asked where its check asks.
    ways |= {(site.name, "other", site.name) for site in world.lab.sites}

    def settled() -> bool:
        for source, placement, target in sorted(ways):
            session, probes = world.sessions[source, placement], world.probes[target]
            done = (
                knows(session, probes)
                if source == target
                else gets_through(session, probes, services=world.carries_cluster_ips(source, target))
            )
            if done:
                ways.discard((source, placement, target))
        return not ways

    with contextlib.suppress(DeadlinePassed):
        wait_until(
            settled,
            what="The probes settle",
            deadline_seconds=SETTLE_DEADLINE_SECONDS,
            every_seconds=LOOK_EVERY_SECONDS,
        )


def gets_through(session: Session, target: Probes, *, services: bool) -> bool:
    """Whether a pod reaches another cluster's pods, the services in front of them and their names, each of them.

    One does not stand for the next: Kubernetes gives each service its endpoints at its own time, some a second later
    (its controller rests after a look at an old slice), and a pod is ready before its UDP server listens. Names come
    last, since a denial is remembered for some seconds.
    """
    backends = [target.services[cluster_ip_service(backend)] for backend in BACKENDS] if services else []
    connected = [(pod.address, PORT) for pod in target.pods] + [(address, SERVICE_PORT) for address in backends]
    if services:
        connected.append((target.services[STICKY], SERVICE_PORT))
    return (
        all(session.ask("tcp", address=address, port=port, seconds=1).get("ok") for address, port in connected)
        and all(session.ask("udp", host=address, port=SERVICE_PORT, seconds=1).get("ok") for address in backends)
        and knows(session, target)
        and all(session.ask("resolve", name=target.pod_host(pod), seconds=2).get("ok") for pod in target.pods)
    )


def knows(session: Session, target: Probes) -> bool:
    """Whether the headless service's name has the addresses of all pods behind it."""
    answer = session.ask("resolve", name=target.service_name, seconds=2)
    return bool(answer.get("ok")) and sorted(answer["addresses"]) == sorted(pod.address for pod in target.pods)
