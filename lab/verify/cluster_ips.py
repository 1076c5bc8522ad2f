"""The checks of services with a ClusterIP: by address and by name, over TCP and UDP, to backends on the router, on
another node and in the host's network; one without endpoints; and sessions that stay with their backend.

Where the settings say that the link carries none (``link.cluster_ips``), the same checks want a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from lab.verify import judging
from lab.verify.results import Verdict
from lab.verify.sessions import Session
from lab.verify.workload import (
    BACKENDS,
    EMPTY,
    PLACEMENTS,
    SERVICE_PORT,
    STICKY,
    Backend,
    Placement,
    Probes,
    cluster_ip_service,
)

World = TypeVar("World")
DEADLINE_SECONDS: Final = 5
REQUESTS: Final = 8
"""So many requests of one client, so that by chance they meet one of two backends once in 128 times."""

_ON: Final = {"router": "router node", "other": "other node", "host": "host network"}


def service_checks(
    source: str, placement: Placement, target: str, session: Callable[[World], tuple[Session, Probes, bool]], fix: str
) -> Iterator[tuple[str, str, Callable[[World], Verdict]]]:
    """Id without the clusters, title and function of every check from a placement. ``session`` gives, of a world, the
    open session there, the target's probes, and whether the link carries ClusterIPs. ``fix`` is for names.
    """

    def check(name: str, do: str, backend: Backend, *, by_name: bool) -> tuple[str, str, Callable[[World], Verdict]]:
        def run(world: World) -> Verdict:
            asked, probes, carried = session(world)
            service = cluster_ip_service(backend)
            host = probes.service_host(service) if by_name else probes.services[service]
            answer = _request(asked, do, host)
            if not carried:
                return judging.judge_refused(answer, host=host, why="link.cluster_ips is false at one end")
            return judging.judge_service(
                answer,
                host=host,
                kind=do,
                pods=[probes.backend_says(backend)],
                source=source,
                fix=fix if by_name else "",
            )

        how = "by its name" if by_name else f"over {'UDP' if do == 'udp' else 'TCP'} by its ClusterIP"
        title = f"{source} ({_ON[placement]}) to {target} ({_ON[backend]}): a service {how}"
        return f"{placement}-{backend}.{name}", title, run

    for backend in BACKENDS:
        yield check("cluster-ip", "http", backend, by_name=False)
        yield check("cluster-ip-udp", "udp", backend, by_name=False)
        yield check("cluster-ip-name", "http", backend, by_name=True)

    def refused(world: World) -> Verdict:
        asked, probes, carried = session(world)
        host = probes.services[EMPTY]
        why = "it has no endpoints" if carried else "link.cluster_ips is false at one end"
        return judging.judge_refused(_request(asked, "tcp", host), host=host, why=why)

    title = f"{source} ({_ON[placement]}) to {target}: a service without endpoints is refused"
    yield f"{placement}.service-refused", title, refused

    def sticky(world: World) -> Verdict:
        asked, probes, carried = session(world)
        host = probes.services[STICKY]
        answers = [_request(asked, "http", host) for _ in range(REQUESTS if carried else 1)]
        if not carried:
            return judging.judge_refused(answers[0], host=host, why="link.cluster_ips is false at one end")
        return judging.judge_sticky(answers, host=host, pods=[probes.backend_says(place) for place in PLACEMENTS])

    title = f"{source} ({_ON[placement]}) to {target}: a client of a service with sessionAffinity stays with its pod"
    yield f"{placement}.session-affinity", title, sticky


def _request(session: Session, do: str, host: str) -> Mapping[str, Any]:
    where = {"address": host} if do == "tcp" else {"host": host}
    return session.ask(do, **where, port=SERVICE_PORT, path="/hostname", seconds=DEADLINE_SECONDS)
