"""Which questions go out from which machine, and what came back, as probes of each direction. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from domain.names import CLUSTER_DNS_OFFSET, RELAY_PORT
from lab.status.asking import Json, MachineAnswer
from lab.status.facts import NameStep
from lab.status.findings import GUARDED_PORTS
from lab.status.looking import Pod, RouterNode, Seen
from lab.status.results import NameProbe, Placement, Probe

PROBE_SECONDS: Final = 2.0
NAME_SECONDS: Final = 3.0
"""A peer's zone gives SERVFAIL within 2 s when the link is dead."""
SHUT_SECONDS: Final = 0.6
"""For a port that should not answer: what is not shut answers within milliseconds."""
DNS_PORT: Final = 53
PLACEMENTS: Final[tuple[Placement, ...]] = ("router", "other")

Purpose = Literal["packet", "name", "port", "step"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question that a machine asks. ``pod`` is whose network it is asked from; None is the node's own."""

    id: str
    purpose: Purpose
    node: str
    pod: Pod | None
    do: Literal["icmp", "tcp", "dns"]
    address: str
    port: int
    seconds: float
    name: str = ""
    to: Pod | None = None
    step: NameStep | None = None

    def request(self) -> dict[str, Any]:
        """As `node_agent.py` takes it."""
        netns = self.pod.netns if self.pod else ""
        return {
            "id": self.id,
            "do": self.do,
            "netns": netns,
            "address": self.address,
            "port": self.port,
            "seconds": self.seconds,
            "name": self.name,
        }


def questions(source: Seen, target: Seen, name: str) -> Sequence[Question]:
    """What is asked of a direction; ``name`` is one of the target's zone that nobody has asked for before."""
    return [
        *_packets(source, target),
        *_name(source, target, name),
        *_ports(source, target),
    ]


def _packets(source: Seen, target: Seen) -> Iterator[Question]:
    way = f"{source.site.name}-{target.site.name}"
    for from_placement in PLACEMENTS:
        for to_placement in PLACEMENTS:
            pod, to = source.source(from_placement), target.target(to_placement)
            if pod is None or to is None:
                continue
            for do in ("icmp", "tcp"):
                # A closed port's refusal could come from anywhere on the way, so TCP goes where something listens.
                if do == "icmp" or to.serves_dns:
                    yield Question(
                        id=f"{way}.{from_placement}-{to_placement}.{do}",
                        purpose="packet",
                        node=pod.node,
                        pod=pod,
                        do="icmp" if do == "icmp" else "tcp",
                        address=to.address,
                        port=DNS_PORT,
                        seconds=PROBE_SECONDS,
                        to=to,
                    )


def _name(source: Seen, target: Seen, name: str) -> Iterator[Question]:
    pod = source.source("other") or source.source("router")
    if pod is not None:
        yield Question(
            id=f"{source.site.name}-{target.site.name}.name",
            purpose="name",
            node=pod.node,
            pod=pod,
            do="dns",
            address=str(source.site.ranges.services[CLUSTER_DNS_OFFSET]),
            port=DNS_PORT,
            seconds=NAME_SECONDS,
            name=f"{name}.{target.site.ranges.dns_zone}",
        )


def _between_routers(source: Seen, target: Seen) -> Iterator[tuple[RouterNode, RouterNode]]:
    for own in source.routers:
        for peer in target.routers:
            if source.machines.get(own.node) and own.wt0 and peer.wt0:
                yield own, peer


def _ports(source: Seen, target: Seen) -> Iterator[Question]:
    for own, peer in _between_routers(source, target):
        for port in GUARDED_PORTS:
            yield Question(
                id=f"{source.site.name}-{target.site.name}.port.{own.node}.{peer.node}.{port}",
                purpose="port",
                node=own.node,
                pod=None,
                do="tcp",
                address=peer.wt0,
                port=port,
                seconds=SHUT_SECONDS,
            )


def name_steps(source: Seen, target: Seen, name: str) -> Sequence[Question]:
    """The way of a name, relay by relay, asked from the source's router nodes."""
    steps: list[tuple[str, str, NameStep]] = [
        (own.node, own.node_ip, "own relay") for own in source.routers if own.node_ip and source.machines.get(own.node)
    ]
    steps += [(own.node, peer.wt0, "peer's relay") for own, peer in _between_routers(source, target)]
    return [
        Question(
            id=f"{source.site.name}-{target.site.name}.step.{number}",
            purpose="step",
            node=node,
            pod=None,
            do="dns",
            address=address,
            port=RELAY_PORT,
            seconds=PROBE_SECONDS,
            name=f"{name}.{target.site.ranges.dns_zone}",
            step=step,
        )
        for number, (node, address, step) in enumerate(steps)
    ]


def not_probed(source: Seen, target: Seen) -> tuple[str, ...]:
    """The places without a pod, and what stands in for one there, a sentence each."""
    place = {"router": "a router's node", "other": "a node that is no router's"}
    said = []
    for placement in PLACEMENTS:
        for seen, used, what, does in (
            (source, source.source(placement), "to ask from", "asks"),
            (target, target.target(placement), "to ask", "is asked"),
        ):
            if not seen.has_nodes(placement) or (used is not None and not used.stands_in):
                continue
            instead = "." if used is None else f"; in its place {used.name} of {used.node} {does}."
            said.append(f"{seen.site.name} has no pod on {place[placement]} {what}{instead}")
    return tuple(said)


# --- what came back ---------------------------------------------------------------------------------------------------

_NOTHING: Final[Json] = {"ok": False, "ms": None, "said": "the machine did not answer"}


def _answer(question: Question, answers: Mapping[str, MachineAnswer]) -> Json:
    machine = answers.get(question.node)
    return _NOTHING if machine is None else machine.probes.get(question.id, _NOTHING)


def probes(asked: Sequence[Question], answers: Mapping[str, MachineAnswer]) -> tuple[Probe, ...]:
    """The packets there and back."""
    made = []
    for question in asked:
        if question.purpose != "packet" or question.pod is None or question.to is None:
            continue
        answer = _answer(question, answers)
        made.append(
            Probe(
                source_node=question.pod.node,
                source_placement=question.pod.placement,
                source_pod=question.pod.name,
                target_node=question.to.node,
                target_placement=question.to.placement,
                target_pod=question.to.name,
                protocol="icmp" if question.do == "icmp" else "tcp",
                address=question.address,
                passed=bool(answer["ok"]),
                milliseconds=answer["ms"],
                said=str(answer["said"]),
            )
        )
    return tuple(made)


def name_probes(asked: Sequence[Question], answers: Mapping[str, MachineAnswer]) -> tuple[NameProbe, ...]:
    """The names."""
    made = []
    for question in asked:
        if question.purpose != "name" or question.pod is None:
            continue
        answer = _answer(question, answers)
        made.append(
            NameProbe(
                source_node=question.pod.node,
                source_pod=question.pod.name,
                server=question.address,
                name=question.name,
                passed=bool(answer["ok"]),
                milliseconds=answer["ms"],
                said="" if answer["ok"] else str(answer["said"]),
            )
        )
    return tuple(made)


def open_ports(asked: Sequence[Question], answers: Mapping[str, MachineAnswer], address: str) -> tuple[int, ...] | None:
    """Which ports at a router's address answered, if only by a refusal; None when nobody asked."""
    tried = [
        (question, _answer(question, answers))
        for question in asked
        if question.purpose == "port" and question.address == address
    ]
    if not tried:
        return None
    return tuple(sorted({question.port for question, answer in tried if answer["ok"] or answer["said"] == "refused"}))


def steps(asked: Sequence[Question], answers: Mapping[str, MachineAnswer]) -> dict[NameStep, bool]:
    """Which relays answered."""
    found: dict[NameStep, bool] = {}
    for question in asked:
        if question.step is not None:
            found[question.step] = found.get(question.step, False) or bool(_answer(question, answers)["ok"])
    return found


def step_errors(asked: Sequence[Question], answers: Mapping[str, MachineAnswer]) -> dict[NameStep, str]:
    """What came instead of answers of relays."""
    found: dict[NameStep, str] = {}
    for question in asked:
        if question.step is not None and not (answer := _answer(question, answers))["ok"]:
            found.setdefault(question.step, str(answer["said"]))
    return found
