"""When new probe pods are known everywhere: what the checks ask once is asked here until it is answered."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
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
                knows(session, {probes.service_name: addresses_of(probes)})
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
    """Whether a pod reaches another cluster's pods and, where they are let across, the services in front of them, and
    knows all of their names.

    One does not stand for the next: Kubernetes gives each service its endpoints at its own time, some a second later
    (its controller rests after a look at an old slice), and a pod is ready before its UDP server listens. Names come
    last, since a denial is remembered for some seconds, as are those of former pods.
    """
    behind = {backend: target.services[cluster_ip_service(backend)] for backend in BACKENDS}
    connected = [(address, PORT) for address in addresses_of(target)]
    if services:
        connected += [(address, SERVICE_PORT) for address in (*behind.values(), target.services[STICKY])]
    names = {target.service_name: addresses_of(target)}
    names |= {target.pod_host(pod): [pod.address] for pod in target.pods}
    names |= {target.service_host(cluster_ip_service(backend)): [address] for backend, address in behind.items()}
    return (
        all(session.ask("tcp", address=address, port=port, seconds=1).get("ok") for address, port in connected)
        and (not services or all(_says_who(session, address) for address in behind.values()))
        and knows(session, names)
    )


def _says_who(session: Session, address: str) -> bool:
    return bool(session.ask("udp", host=address, port=SERVICE_PORT, seconds=1).get("ok"))


def addresses_of(probes: Probes) -> list[str]:
    """Of the pods behind the headless service."""
    return [pod.address for pod in probes.pods]


def knows(session: Session, names: Mapping[str, Sequence[str]]) -> bool:
    """Whether each name has these addresses and no other."""
    answers = ((session.ask("resolve", name=name, seconds=2), wanted) for name, wanted in names.items())
    return all(answer.get("ok") and sorted(answer["addresses"]) == sorted(wanted) for answer, wanted in answers)
