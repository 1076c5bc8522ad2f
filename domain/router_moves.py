"""How the routers of a cluster that runs become those of the settings, one step at a time. Pure: what is there goes in,
what to do next comes out, and whoever carries it out looks again.

A link is carried by one router that works, at every moment. So each egress policy names its gateway's node, whatever
nodes have the router's label: Cilium takes the first node of the label by name, alive or not, with an agent or without.
A router that comes gets the label, and with it an agent. A router that goes is left by the policies first, once another
one has its route and Cilium knows its label; then its label and its agent go. Where no router stays, the operator makes
one agent more for the while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """The policy names this node as its gateway."""

    policy: str
    node: str

    def __str__(self) -> str:
        return f"{self.policy} leaves by {self.node}"


@dataclass(frozen=True)
class Label:
    """The node has the router's label, or has it no more."""

    node: str
    router: bool

    def __str__(self) -> str:
        return f"{self.node} {'becomes a router' if self.router else 'is no router any more'}"


@dataclass(frozen=True)
class RemoveAgent:
    """The agent's pod goes."""

    pod: str
    node: str

    def __str__(self) -> str:
        return f"the agent on {self.node} ends"


@dataclass(frozen=True)
class Scale:
    """So many agents."""

    agents: int

    def __str__(self) -> str:
        return f"NetBird's operator is to run {self.agents} of the router"


Action = Pin | Label | RemoveAgent | Scale


@dataclass(frozen=True)
class RoutersNow:
    """What is there. Nodes are called by the names of their Nodes.

    ``labelled`` have the router's label; ``agents`` are pods that have a node and are not about to end, pod -> node,
    and ``ready`` the nodes of those that are connected. ``gateways`` is {policy: the node that it names, None for
    none}, ``routed`` is {policy: nodes with NetBird's route to its peer, in order, and with a tunnel that carries}.
    ``selectable`` are nodes whose CiliumNode has the router's label: only those are a gateway for the other nodes, and
    Cilium brings a Node's label there after half a minute and more when the API server has been away meanwhile.
    ``wanted_agents`` is what the operator was told, None while it was told nothing.
    """

    joined: frozenset[str]
    labelled: frozenset[str]
    agents: Mapping[str, str]
    ready: frozenset[str]
    gateways: Mapping[str, str | None]
    routed: Mapping[str, frozenset[str]]
    selectable: frozenset[str]
    wanted_agents: int | None


@dataclass(frozen=True)
class Step:
    """What to do now, in this order; ``state`` says what is still missing. ``done`` when nothing is left afterwards."""

    actions: Sequence[Action]
    state: str
    done: bool


def next_step(wanted: Sequence[str], now: RoutersNow) -> Step:
    """From what is there to the routers of the settings, as far as it is possible now."""
    missing = [node for node in wanted if node not in now.joined]
    new = [node for node in wanted if node in now.joined - now.labelled]
    leaving = sorted((now.labelled | {*now.agents.values()}) - {*wanted})
    actions: list[Action] = []
    if new and now.labelled:
        # Where it leads now, lest it follows the label to a node whose agent does not run yet.
        here = min(now.labelled)
        actions += [Pin(policy, here) for policy, node in sorted(now.gateways.items()) if node is None]
    actions += [Label(node, True) for node in new]
    if missing:
        return Step(actions, f"{', '.join(missing)} has not joined the cluster", False)
    if not leaving:
        if now.wanted_agents is not None and now.wanted_agents > len(wanted):
            actions.append(Scale(len(wanted)))
        return Step(actions, "all routers are in their places", True)
    ways = {policy: _way(policy, wanted, leaving, now) for policy in sorted(now.gateways)}
    lacking = [policy for policy, node in ways.items() if node is None]
    if lacking:
        # Those that go carry the link until one that stays can.
        agents = len({node for node in now.agents.values() if node in leaving}) + len(wanted)
        if now.wanted_agents is not None and now.wanted_agents < agents:
            actions.append(Scale(agents))
        return Step(actions, f"{_lack(wanted, now)}; until then {', '.join(leaving)} goes on", False)
    actions += [Pin(policy, node) for policy, node in ways.items() if node and node != now.gateways[policy]]
    actions += [Label(node, False) for node in leaving if node in now.labelled]
    actions += [RemoveAgent(pod, node) for pod, node in sorted(now.agents.items()) if node in leaving]
    return Step(actions, "; ".join(map(str, actions)), False)


def settled(wanted: Sequence[str], now: RoutersNow) -> list[Action]:
    """What is left to do once the routers are in their places and all policies are there: those that name no router, or
    one without a route where another one has it, name one that has.
    """
    actions: list[Action] = []
    for policy, node in sorted(now.gateways.items()):
        routed = [router for router in wanted if router in now.routed.get(policy, frozenset()) & now.selectable]
        if node in routed or (node in wanted and not routed):
            continue
        there = sorted(routed or (now.ready & {*wanted}) or wanted)
        actions.append(Pin(policy, there[0]))
    return actions


def _way(policy: str, wanted: Sequence[str], leaving: Sequence[str], now: RoutersNow) -> str | None:
    """The router that stays and takes the policy over: the one that has it, where it can. A peer to which nobody has a
    route is away for the moment, and is not waited for.
    """
    routed = now.routed.get(policy, frozenset())
    able = routed if routed & {*wanted, *leaving} else now.ready
    staying = sorted(able & {*wanted} & now.selectable)
    here = now.gateways[policy]
    return here if here in staying else next(iter(staying), None)


def _lack(wanted: Sequence[str], now: RoutersNow) -> str:
    def of(node: str) -> str:
        if node not in now.ready:
            return f"{node} has no agent that is connected"
        if node not in now.selectable:
            return f"Cilium does not know {node} as a router yet"
        return f"{node} does not reach every peer yet"

    return ", ".join(map(of, wanted))
