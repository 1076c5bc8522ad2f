"""Looking at the whole lab: first who is there, then packets and names, and only when one is lost, what is behind it.

A probe starts in the network of a pod that runs anyway (the cluster's DNS, NetBird's operator, ...) and goes to one in
another cluster, from and to a router's node and a node that is none, as far as there are pods on both. The lab's
machines are entered for it, so pods are found where they are, also while an API or a kubelet is away. Nothing is made
or changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from lab import machines, netbird_server, processes, topology
from lab.project import Tools
from lab.status import asking, probing, reading
from lab.status.asking import MachineAnswer
from lab.status.facts import ClusterFacts, LinkFacts, NetBirdFacts, NodeFacts, RouterFacts
from lab.status.judging import judge, verdict_of
from lab.status.looking import Seen, first_look
from lab.status.probing import Question
from lab.status.results import (
    ClusterStatus,
    HelperStatus,
    LinkStatus,
    MachineStatus,
    NodeStatus,
    Path,
    RouterStatus,
    Status,
)
from lab.topology import Site, Topology

AT_ONCE: Final = 32
"""Most of what is asked waits for an answer that must not come."""


def collect(lab: Topology, tools: Tools) -> Status:
    """Looks at everything, at the same time where one thing does not need the other."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        running = {name: machines.running(name) for name in machines.list_machines()}
        netbird = pool.submit(asking.netbird)
        seen = first_look(lab, tools, running, pool)
        world = _World(lab=lab, seen=seen, running=running, pool=pool)
        world.ask()
        links = world.links(netbird.result())
    return Status(
        machines=tuple(MachineStatus(name=name, running=runs) for name, runs in sorted(running.items())),
        helpers=helpers(),
        clusters=tuple(_cluster_status(seen[site.name], world.facts[site.name]) for site in lab.sites),
        links=links,
    )


def helpers() -> tuple[HelperStatus, ...]:
    """The lab's servers."""
    urls = {
        netbird_server.NAME: topology.NETBIRD_URL,
        "mirror": topology.MIRROR_URL,
        "hetzner-api": topology.HETZNER_ENDPOINT,
    }
    return tuple(HelperStatus(name=name, running=processes.running(name), url=url) for name, url in urls.items())


class _World:
    """One look at the lab: what was asked of whom, and the facts made of the answers."""

    def __init__(self, *, lab: Topology, seen: Mapping[str, Seen], running: Mapping[str, bool], pool: Executor) -> None:
        self._lab = lab
        self._seen = seen
        self._running = running
        self._pool = pool
        self._name = f"isthmus-status-{secrets.token_hex(6)}"
        """No cache knows it."""
        self._questions: dict[tuple[str, str], Sequence[Question]] = {}
        self._answers: dict[str, MachineAnswer] = {}
        self.facts: dict[str, ClusterFacts] = {}

    def ask(self) -> None:
        """Sends every probe and looks at every node, all at the same time."""
        for source, target in self._lab.directions():
            self._questions[source.name, target.name] = probing.questions(
                self._seen[source.name], self._seen[target.name], self._name
            )
        asked = [question for of_link in self._questions.values() for question in of_link]
        nodes = {name for seen in self._seen.values() for name in seen.machines}
        self._answers = self._sent(asked, {name: {"look": True} for name in nodes})
        for site in self._lab.sites:
            self.facts[site.name] = self._cluster_facts(site, asked)

    def _sent(self, asked: Iterable[Question], requests: Mapping[str, dict[str, Any]]) -> dict[str, MachineAnswer]:
        """The answers of the machines that run."""
        by_machine: dict[str, list[Question]] = {name: [] for name in requests}
        for question in asked:
            by_machine.setdefault(question.node, []).append(question)
        sent = {}
        for name, questions in by_machine.items():
            request = {**requests.get(name, {}), "probes": [question.request() for question in questions]}
            seconds = max((question.seconds for question in questions), default=probing.PROBE_SECONDS)
            if self._running.get(name):
                sent[name] = self._pool.submit(asking.machine, name, request, seconds=seconds)
        return {name: future.result() for name, future in sent.items()}

    def _cluster_facts(self, site: Site, asked: Sequence[Question]) -> ClusterFacts:
        seen = self._seen[site.name]
        looked = {name: answer.node for name, answer in self._answers.items()}
        routers = [
            reading.router(
                node=router.node,
                node_ip=router.node_ip,
                pod=router.pod,
                machine_running=self._running.get(router.node, False),
                looked=looked.get(router.node),
                open_ports=probing.open_ports(asked, self._answers, router.wt0) if router.wt0 else None,
            )
            for router in seen.routers
        ]
        router_nodes = {router.node for router in routers}
        nodes = [
            reading.node(
                node,
                router=(name := str(node["metadata"]["name"])) in router_nodes,
                machine_running=self._running.get(name, False),
                looked=looked.get(name),
            )
            for node in seen.objects.nodes
        ]
        if not seen.objects.reachable:
            nodes = [
                NodeFacts(name=name, router=name in router_nodes, ready=None, machine_running=runs)
                for name, runs in sorted(seen.machines.items())
            ]
        return ClusterFacts(
            name=site.name,
            pods=site.ranges.pods,
            services=site.ranges.services,
            dns_zone=site.ranges.dns_zone,
            reachable=seen.objects.reachable,
            nodes=tuple(nodes),
            routers=tuple(routers),
            policies=seen.objects.policies,
            dns_pods=sum(pod.serves_dns for pod in seen.pods),
            dns_nodes=frozenset(pod.node for pod in seen.pods if pod.serves_dns),
            zones=seen.objects.zones,
        )

    def links(self, netbird: NetBirdFacts) -> tuple[LinkStatus, ...]:
        """Every direction, judged; what is behind lost packets and names is looked up first."""
        steps = self._look_behind()
        return tuple(
            self._link(
                LinkFacts(
                    source=self.facts[source.name],
                    target=self.facts[target.name],
                    netbird=netbird,
                    name_steps=probing.steps(steps[source.name, target.name], self._answers),
                    name_errors=probing.step_errors(steps[source.name, target.name], self._answers),
                )
            )
            for source, target in self._lab.directions()
        )

    def _look_behind(self) -> dict[tuple[str, str], Sequence[Question]]:
        """Egress maps of clusters whose packets are lost, and the relays on the way of lost names."""
        steps: dict[tuple[str, str], Sequence[Question]] = {}
        maps: dict[str, dict[str, Any]] = {}
        for (source, target), asked in self._questions.items():
            seen = self._seen[source]
            steps[source, target] = ()
            if not all(probe.passed for probe in probing.probes(asked, self._answers)):
                maps |= {name: {"maps": True} for name in seen.machines}
            if not all(probe.passed for probe in probing.name_probes(asked, self._answers)):
                steps[source, target] = probing.name_steps(seen, self._seen[target], self._name)
        answers = self._sent([question for of_link in steps.values() for question in of_link], maps)
        for name, answer in answers.items():
            before = self._answers.get(name, MachineAnswer())
            self._answers[name] = replace(before, probes={**before.probes, **answer.probes})
        for name, facts in self.facts.items():
            told = {node: answers[node].egress for node in self._seen[name].machines if node in answers}
            entries = {node: reading.egress(lines) for node, lines in told.items() if lines is not None}
            self.facts[name] = replace(facts, egress=entries or None)
        return steps

    def _link(self, facts: LinkFacts) -> LinkStatus:
        source, target = facts.source.name, facts.target.name
        asked = self._questions[source, target]
        probes = probing.probes(asked, self._answers)
        names = probing.name_probes(asked, self._answers)
        trips = [probe.milliseconds for probe in probes if probe.protocol == "icmp" and probe.milliseconds is not None]
        return LinkStatus(
            source=source,
            target=target,
            verdict=verdict_of([probe.passed for probe in probes]),
            names=verdict_of([probe.passed for probe in names]),
            path=path(facts.source.routers, facts.target.routers),
            round_trip_ms=round(min(trips), 3) if trips else None,
            policy=str(facts.target.pods) in (facts.source.policies or ()),
            probes=probes,
            name_probes=names,
            not_probed=probing.not_probed(self._seen[source], self._seen[target]),
            causes=judge(facts, probes, names),
        )


def path(own: Sequence[RouterFacts], peers: Sequence[RouterFacts]) -> Path:
    """How the source's routers reach the target's, by what their agents say; direct where any two do."""
    addresses = {router.address for router in peers if router.address}
    told = [router.peers for router in own if router.peers is not None]
    if not told or not addresses:
        return "unknown"
    ways = [peer for known in told for address, peer in known.items() if address in addresses and peer.connected]
    if not ways:
        return "down"
    return "relayed" if all(peer.relayed for peer in ways) else "direct"


def _cluster_status(seen: Seen, facts: ClusterFacts) -> ClusterStatus:
    addresses = reading.addresses(seen.objects.nodes)
    return ClusterStatus(
        name=facts.name,
        reachable=facts.reachable,
        nodes=tuple(
            NodeStatus(name=node.name, ready=bool(node.ready), address=addresses.get(node.name, ""), router=node.router)
            for node in facts.nodes
            if facts.reachable
        ),
        routers=tuple(
            RouterStatus(
                node=router.node,
                node_ip=router.node_ip,
                netbird_ip=router.address,
                connected=bool(router.management),
                keeper=router.keeper,
            )
            for router in facts.routers
        ),
        dns_zone=facts.dns_zone,
        expected_nodes=seen.site.node_count,
        expected_routers=seen.site.router_count,
        servers=seen.objects.servers,
    )
