"""The order of a measurement: pods, health, carriers, fault, watch, mending, and again."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from lab import state
from lab.commands import wait_until
from lab.errors import LabError
from lab.failover import pods
from lab.failover.carrying import Way, way
from lab.failover.gaps import CALM_SECONDS, KINDS, Path, Placement, Sample, longest_gap
from lab.failover.pods import Pod
from lab.failover.probing import Flow, Probing, probing
from lab.faults import Fault
from lab.kubernetes import Cluster, is_ready
from lab.project import Tools
from lab.reporting import Reporter
from lab.status import NETBIRD_NAMESPACE, Status, agent_status, collect, peer_path, router_pods, unready
from lab.topology import Topology

WATCH_SECONDS: Final = 30.0
"""After a fault, for who is not back: a person has noticed long before."""
LEAST_WATCH_SECONDS: Final = 12.0
"""After a fault in any case: an agent that comes back, or notices late, may break what has healed."""
CALM_BEFORE_SECONDS: Final = 2.0
CALM_AFTER_SECONDS: Final = 3.0
STEADY_DEADLINE_SECONDS: Final = 60.0
HEALTH_DEADLINE_SECONDS: Final = 300.0
POD_DELETE_SECONDS: Final = 90.0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Two clusters of the lab that are measured."""

    lab: Topology
    tools: Tools
    reporter: Reporter
    pair: tuple[str, str]
    watch_seconds: float = WATCH_SECONDS

    @property
    def clusters(self) -> dict[str, Cluster]:
        """Both, by name."""
        return {name: Cluster(name=name, tools=self.tools) for name in self.pair}

    def peer(self, name: str) -> str:
        """The other one."""
        return next(other for other in self.pair if other != name)


def measure(
    bench: Bench,
    faults: Sequence[Fault],
    *,
    runs: int,
    at: Sequence[str],
    took: Callable[[Sequence[Sample]], None] = lambda _: None,
) -> list[Sample]:
    """Every fault at the router that carries, in each of these clusters, ``runs`` times; ``took`` gets what each saw.

    It is kept in ``<state>/failover.jsonl`` as well, so a measurement that is broken off has not been for nothing.
    """
    samples: list[Sample] = []
    with standing_pods(bench):
        health(bench)
        for fault in faults:
            for cluster in at:
                for run in range(1, runs + 1):
                    with bench.reporter.step(f"{fault.title}, router of {cluster}, run {run} of {runs}"):
                        made = one_run(bench, fault, cluster, run)
                    took(made)
                    _keep(made)
                    samples += made
    return samples


@contextlib.contextmanager
def standing_pods(bench: Bench) -> Iterator[None]:
    """A probe pod on every node of both clusters, for the block."""
    with bench.reporter.step("Starting probe pods"):
        for cluster in bench.clusters.values():
            pods.start(cluster)
    try:
        yield
    finally:
        with bench.reporter.step("Removing probe pods"):
            for cluster in bench.clusters.values():
                pods.remove(cluster)


def _keep(samples: Sequence[Sample]) -> None:
    with (state.STATE / "failover.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(sample)) + "\n" for sample in samples)


def one_run(bench: Bench, fault: Fault, cluster: str, run: int) -> list[Sample]:
    """One fault at the router of ``cluster`` that carries; where another one carries the way back, one at that, too."""
    samples: list[Sample] = []
    directions = [(cluster, bench.peer(cluster)), (bench.peer(cluster), cluster)]
    while directions:
        made = _one_fault(bench, fault, cluster, directions, run)
        samples += made
        directions = [
            direction
            for direction in directions
            if direction not in {(sample.source, sample.target) for sample in made}
        ]
    return samples


def _one_fault(
    bench: Bench, fault: Fault, cluster: str, directions: Sequence[tuple[str, str]], run: int
) -> list[Sample]:
    """One fault at the router of the first direction, and what all directions see that it carries."""
    peer = bench.peer(cluster)
    found = {name: pods.ready(kubernetes) for name, kubernetes in bench.clusters.items()}
    routers = {name: router_nodes(kubernetes) for name, kubernetes in bench.clusters.items()}
    third = min((node for node in found[peer] if node not in routers[peer]), default=min(found[peer]))
    far = found[peer][third]
    flows = {
        (cluster, peer): [Flow(pod, far) for pod in found[cluster].values()],
        (peer, cluster): [Flow(far, pod) for pod in found[cluster].values()],
    }
    with probing([*found[cluster].values(), far]) as made:
        ways = {}
        for source, target in directions:
            _steady(bench, made, flows[source, target])
            ways[source, target] = way(made, flows[source, target], own=routers[source], peers=routers[target])
        hit = _own(ways[directions[0]], directions[0], cluster)
        carried = [direction for direction in directions if _own(ways[direction], direction, cluster) == hit]
        path = _path(bench, cluster, ways[directions[0]], directions[0])
        watched = [flow for direction in carried for flow in flows[direction] if not _gone(fault, flow, hit)]
        made.stop()
        _steady(bench, made, watched)
        begin = time.monotonic()
        bench.reporter.update(
            f"{fault.title} on {hit}, which carries {' and '.join('→'.join(direction) for direction in carried)}"
        )
        try:
            fault.make(hit)
            _watch(bench, made, watched, begin)
            samples = [
                Sample(
                    fault=fault.name,
                    cluster=cluster,
                    router=hit,
                    placement=placement(_near(flow, cluster).node, hit, routers[cluster]),
                    source=flow.source.cluster,
                    target=flow.target.cluster,
                    kind=kind,
                    path=path,
                    run=run,
                    gap=longest_gap(made.of(flow).answers(flow, kind), begin=begin, end=made.of(flow).now),
                    failures=len(made.of(flow).failures(flow, kind, begin)),
                )
                for flow in watched
                for kind in KINDS
            ]
        finally:
            bench.reporter.update(f"undoing it on {hit}")
            mend(bench, fault, cluster, hit)
    health(bench)
    worst = max(sample.gap for sample in samples if sample.kind != "kept")
    ends = ", ".join(
        f"{'→'.join(sides)} {max(s.gap for s in samples if (s.source, s.target) == sides and s.kind != 'kept')} s"
        for sides in carried
    )
    bench.reporter.note(f"{fault.title}, {hit} ({path}), run {run}: {ends}; worst {worst} s")
    return samples


def _own(found: Way, direction: tuple[str, str], cluster: str) -> str:
    return found.source if direction[0] == cluster else found.target


def _near(flow: Flow, cluster: str) -> Pod:
    """The end of the flow that is in the cluster with the fault."""
    return flow.source if flow.source.cluster == cluster else flow.target


def _gone(fault: Fault, flow: Flow, hit: str) -> bool:
    return fault.takes_pods and hit in (flow.source.node, flow.target.node)


def placement(node: str, hit: str, routers: Sequence[str]) -> Placement:
    """Where a node is, seen from the router that the fault happens to."""
    return "router" if node == hit else "other-router" if node in routers else "third"


def _steady(bench: Bench, made: Probing, flows: Sequence[Flow]) -> None:
    """The flows go, and have done so for a while."""
    made.stop()
    made.start(flows)
    bench.reporter.update("waiting until all answers come")
    wait_until(
        lambda: made.calm(flows, seconds=CALM_BEFORE_SECONDS),
        what="all answers come without a pause",
        deadline_seconds=STEADY_DEADLINE_SECONDS,
        state=lambda: f"not so: {', '.join(made.silent(flows, seconds=CALM_BEFORE_SECONDS))}",
        every_seconds=0.2,
    )


def _watch(bench: Bench, made: Probing, flows: Sequence[Flow], begin: float) -> None:
    """Until all are back and have been for a while, or for as long as anybody watches."""
    while (passed := time.monotonic() - begin) < bench.watch_seconds:
        if passed >= LEAST_WATCH_SECONDS and made.calm(flows, seconds=CALM_AFTER_SECONDS):
            return
        time.sleep(0.2)
    # Whoever has told nothing since then has to say so still.
    time.sleep(CALM_SECONDS / 2)


# --- routers and health -----------------------------------------------------------------------------------------------


def router_nodes(cluster: Cluster) -> list[str]:
    """The nodes of a cluster's routers, by its router pods."""
    return sorted({str(pod["spec"]["nodeName"]) for pod in router_pods(cluster) if pod["spec"].get("nodeName")})


def mend(bench: Bench, fault: Fault, cluster: str, node: str) -> None:
    """Undoes a fault; with a new agent where only that lays again what it took."""
    fault.undo(node)
    if not fault.new_agent:
        return
    kubernetes = bench.clusters[cluster]
    for pod in router_pods(kubernetes):
        if pod["spec"].get("nodeName") == node and "deletionTimestamp" not in pod["metadata"]:
            name = pod["metadata"]["name"]
            kubernetes.kubectl("delete", "pod", name, "-n", NETBIRD_NAMESPACE, deadline_seconds=POD_DELETE_SECONDS)


def health(bench: Bench) -> Status:
    """Waits until the whole lab is well and every router has a tunnel to every router of the other cluster."""
    last: list[str] = []

    def well() -> Status | None:
        try:
            found = collect(bench.lab, bench.tools)
            last[:] = [*unready(found), *(cause.sentence for cause, _ in found.causes), *_tunnels_away(bench)]
        except LabError as error:
            last[:] = [str(error)]
            return None
        return found if found.is_whole and not last else None

    bench.reporter.update("waiting for health")
    return wait_until(
        well,
        what="the lab is in health",
        deadline_seconds=HEALTH_DEADLINE_SECONDS,
        state=lambda: "; ".join(last),
        every_seconds=1.0,
    )


def _tunnels_away(bench: Bench) -> list[str]:
    """The pairs of routers without a tunnel, and router pods that are not ready, a sentence each."""
    agents = {}
    said = []
    for name, cluster in bench.clusters.items():
        found = router_pods(cluster)
        said += [f"the pod {pod['metadata']['name']} is not ready" for pod in found if not is_ready(pod)]
        agents[name] = {str(pod["spec"].get("nodeName")): agent_status(cluster, pod) for pod in found}
    first, second = bench.pair
    for own, peer in ((first, second), (second, first)):
        for node, agent in agents[own].items():
            for far, other in agents[peer].items():
                address = str(other.get("netbirdIp", "")).partition("/")[0]
                if not address or peer_path(agent, address) == "down":
                    said.append(f"{node} has no tunnel to {far}")
    return said


def _path(bench: Bench, cluster: str, found: Way, direction: tuple[str, str]) -> Path:
    """How the router that carries reaches the peer's that does, by its agent's own word."""
    own, peer = (found.source, found.target) if direction[0] == cluster else (found.target, found.source)
    agents = {
        name: {str(pod["spec"].get("nodeName")): agent_status(kubernetes, pod) for pod in router_pods(kubernetes)}
        for name, kubernetes in bench.clusters.items()
    }
    address = str(agents[bench.peer(cluster)].get(peer, {}).get("netbirdIp", "")).partition("/")[0]
    seen = peer_path(agents[cluster].get(own, {}), address)
    return "direct" if seen == "direct" else "relayed" if seen == "relayed" else "down"
