"""What names and ClusterIPs of the other cluster cost: throughput over a ClusterIP against pod to pod, and a cold name
of the peer against one of the own cluster and a round trip of the tunnel, measured in one run.

Cold is a name that exists and that nobody has asked for: a service gets as many endpoints with host names as there are
questions. Measuring is separate from judging, which the results do by themselves.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from lab.errors import LabError
from lab.project import Tools
from lab.reporting import Reporter
from lab.topology import VERIFY_NAMESPACE, Topology
from lab.verify.checks import World
from lab.verify.run import world_of
from lab.verify.throughput import POD_PORT, pod_run
from lab.verify.workload import BACKEND_LABEL, PORT, Placement, Probes

THROUGHPUT_RATIO: Final = 0.95
"""At least so much of the throughput pod to pod has a ClusterIP."""
LOCAL_RATIO: Final = 1.2
"""A cold remote name takes at most so many times as long as a local one, and one round trip of the tunnel."""
ROUNDS: Final = 5
"""Runs of the throughput of each kind, in turns."""
SERVICE: Final = "cold"
THROUGHPUT_SERVICE: Final = "iperf"
QUESTION_SECONDS: Final = 2
ENDPOINTS_LIMIT: Final = 1000
"""Of an EndpointSlice (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/)."""


@dataclass(frozen=True)
class Names:
    """Milliseconds that names took: medians, of ``runs`` questions of each kind."""

    source: str
    target: str
    placement: Placement
    runs: int
    local_ms: float
    remote_ms: float
    trip_ms: float

    @property
    def limit_ms(self) -> float:
        """What a remote name may take."""
        return LOCAL_RATIO * self.local_ms + self.trip_ms

    @property
    def passed(self) -> bool:
        """Whether it took no longer."""
        return self.remote_ms <= self.limit_ms

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "limit_ms": self.limit_ms, "passed": self.passed}


@dataclass(frozen=True)
class Rates:
    """Bits per second: medians, of ``runs`` of each kind."""

    source: str
    target: str
    runs: int
    pod: float
    cluster_ip: float

    @property
    def ratio(self) -> float:
        """What of pod to pod a ClusterIP has."""
        return self.cluster_ip / self.pod

    @property
    def passed(self) -> bool:
        """Whether that is enough."""
        return self.ratio >= THROUGHPUT_RATIO

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "ratio": self.ratio, "at_least": THROUGHPUT_RATIO, "passed": self.passed}


def manifests(count: int) -> list[dict[str, Any]]:
    """A headless service of so many endpoints with host names, which are nobody's addresses, and one for iperf3."""
    if count > ENDPOINTS_LIMIT:
        raise ValueError(f"{count} endpoints; a slice has at most {ENDPOINTS_LIMIT}")
    endpoints = [
        {"addresses": [f"198.18.{number // 250}.{number % 250 + 1}"], "hostname": host(number), "conditions": _READY}
        for number in range(count)
    ]
    return [
        _service(SERVICE, {"clusterIP": "None", "ports": [{"name": "http", "port": PORT}]}),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": SERVICE,
                "namespace": VERIFY_NAMESPACE,
                "labels": {"kubernetes.io/service-name": SERVICE},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
            "endpoints": endpoints,
        },
        _service(
            THROUGHPUT_SERVICE, {"selector": {BACKEND_LABEL: "router"}, "ports": [{"name": "iperf", "port": POD_PORT}]}
        ),
    ]


_READY: Final = {"ready": True}


def host(number: int) -> str:
    """The host name of an endpoint."""
    return f"n{number}"


def _service(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": VERIFY_NAMESPACE},
        "spec": spec,
    }


def measure(lab: Topology, tools: Tools, reporter: Reporter, *, runs: int) -> tuple[list[Rates], list[Names]]:
    """Every direction: throughput from router to router, names from the other node and from the router's.

    Raises :class:`LabError` when a question has no answer.
    """
    rates, names = [], []
    with world_of(lab, tools, reporter) as world:
        # Each placement of a source asks for names that the other has not asked for: one cache serves both.
        for probes in world.probes.values():
            probes.cluster.apply(manifests(2 * runs))
        for source, target in lab.directions():
            with reporter.step(f"Throughput {source.name} to {target.name}"):
                rates.append(_rates(world, source.name, target.name))
        for source, target in lab.directions():
            placements: Sequence[Placement] = ("other", "router")
            for turn, placement in enumerate(placements):
                with reporter.step(f"Names {source.name} ({placement}) to {target.name}"):
                    names.append(
                        _names(world, source.name, target.name, placement, range(turn * runs, (turn + 1) * runs))
                    )
    return rates, names


def _rates(world: World, source: str, target: str) -> Rates:
    sessions = world.sessions[source, "router"], world.sessions[target, "router"]
    probes = world.probes[target]
    services = probes.cluster.get("services", namespace=VERIFY_NAMESPACE)
    (address,) = [
        service["spec"]["clusterIP"] for service in services if service["metadata"]["name"] == THROUGHPUT_SERVICE
    ]
    pod, cluster_ip = [], []
    for _ in range(ROUNDS):
        pod.append(pod_run(probes.pod("router").address, sessions))
        cluster_ip.append(pod_run(address, sessions))
    return Rates(source, target, ROUNDS, statistics.median(pod), statistics.median(cluster_ip))


def _names(world: World, source: str, target: str, placement: Placement, numbers: range) -> Names:
    session = world.sessions[source, placement]
    address = world.probes[target].pod("router").address

    def asked(probes: Probes, number: int) -> float:
        name = f"{host(number)}.{SERVICE}.{VERIFY_NAMESPACE}.svc.{probes.site.ranges.dns_zone}"
        answer = session.ask("dns", name=name, type="A", seconds=QUESTION_SECONDS)
        if not answer.get("ok") or answer["rcode"] != 0 or len(answer["records"]) != 1:
            raise LabError(f"{source} ({placement}): {name}: {answer}")
        return float(answer["ms"])

    def trip() -> float:
        answer = session.ask("udp", host=address, port=PORT, seconds=QUESTION_SECONDS)
        if not answer.get("ok"):
            raise LabError(f"{source} ({placement}): a datagram to {address}: {answer}")
        return float(answer["ms"])

    local, remote, trips = [], [], []
    for number in numbers:
        local.append(asked(world.probes[source], number))
        remote.append(asked(world.probes[target], number))
        trips.append(trip())
    medians = [statistics.median(series) for series in (local, remote, trips)]
    return Names(source, target, placement, len(numbers), *medians)


def as_data(rates: Sequence[Rates], names: Sequence[Names]) -> dict[str, Any]:
    """The whole result for programs."""
    return {
        "throughput": [measured.as_json() for measured in rates],
        "names": [measured.as_json() for measured in names],
        "passed": passed(rates, names),
    }


def passed(rates: Sequence[Rates], names: Sequence[Names]) -> bool:
    """Whether something was measured and all of it is within its limit."""
    judged = [*(measured.passed for measured in rates), *(measured.passed for measured in names)]
    return bool(rates) and bool(names) and all(judged)
