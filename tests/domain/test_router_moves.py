"""Routers that come, go and move: the link is carried by one that works at every moment, whatever happens between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.router_moves import (
    Action,
    Label,
    Pin,
    RemoveAgent,
    RoutersNow,
    Scale,
    next_step,
    settled,
)

POLICY = "isthmus-to-de"


@dataclass
class Cluster:
    """A cluster as Kubernetes, the operator and NetBird would move it on. An agent comes where the label is, as long as
    there are fewer than wanted; it has its route one round later, and Cilium looks at labels in every fourth.
    """

    labelled: set[str]
    wanted_agents: int
    nodes: set[str]
    gateway: str | None = None
    linked: bool = True
    peer_there: bool = True
    agents: dict[str, str] = field(default_factory=dict)
    routed: set[str] = field(default_factory=set)
    rounds: int = 0
    selectable: set[str] = field(default_factory=set)
    seen: list[Action] = field(default_factory=list)

    def now(self) -> RoutersNow:
        ready = frozenset(self.routed)
        routed = ready if self.peer_there else frozenset[str]()
        return RoutersNow(
            joined=frozenset(self.nodes),
            labelled=frozenset(self.labelled),
            agents=dict(self.agents),
            ready=ready,
            gateways={POLICY: self.gateway} if self.linked else {},
            routed={POLICY: routed} if self.linked else {},
            selectable=frozenset(self.selectable),
            wanted_agents=self.wanted_agents,
        )

    def chosen(self) -> str | None:
        """The gateway as Cilium chooses it."""
        known = self.labelled & self.selectable
        if self.gateway is not None:
            return self.gateway if self.gateway in known else None
        return min(known, default=None)

    def carries(self) -> bool:
        """Whether packets find a router with an agent and a route."""
        return self.chosen() in self.routed & {*self.agents.values()}

    def act(self, action: Action) -> None:
        self.seen.append(action)
        match action:
            case Pin(_, node):
                self.gateway = node
            case Label(node, router):
                (self.labelled.add if router else self.labelled.discard)(node)
            case RemoveAgent(pod, node):
                del self.agents[pod]
                self.routed.discard(node)
            case Scale(agents):
                self.wanted_agents = agents

    def pass_time(self) -> None:
        self.rounds += 1
        if self.rounds % 4 == 0:
            self.selectable = {*self.labelled}
        self.routed |= {*self.agents.values()}
        free = sorted(self.labelled - {*self.agents.values()})
        for node in free[: max(0, self.wanted_agents - len(self.agents))]:
            self.agents[f"agent-{node}-{len(self.seen)}"] = node


def running(*routers: str, nodes: str = "abcd", gateway: str | None = None) -> Cluster:
    """With these routers, which carry the link."""
    cluster = Cluster({*routers}, len(routers), {*nodes}, gateway)
    for _ in range(4):
        cluster.pass_time()
    assert cluster.carries()
    return cluster


def bring(cluster: Cluster, wanted: Sequence[str], rounds: int = 12) -> Cluster:
    """As an `up`: step after step, then the operator is told how many, then the policies are looked at. Fails when the
    link is not carried after any single action.
    """
    for _ in range(rounds):
        step = next_step(wanted, cluster.now())
        for action in step.actions:
            cluster.act(action)
            assert cluster.carries(), (action, cluster)
        if step.done:
            break
        cluster.pass_time()
    else:
        raise AssertionError(f"it does not come to an end: {step.state}")
    if cluster.wanted_agents > len(wanted):
        assert len(cluster.agents) <= len(wanted), "an operator that is told of fewer would end any of them"
    cluster.wanted_agents = len(wanted)
    cluster.pass_time()
    cluster.pass_time()
    for action in settled(wanted, cluster.now()):
        cluster.act(action)
    assert cluster.carries()
    assert cluster.labelled == {*wanted} == {*cluster.agents.values()}
    assert next_step(wanted, cluster.now()).actions == []
    assert settled(wanted, cluster.now()) == []
    return cluster


def test_a_router_that_moves_is_left_once_the_other_one_can_carry() -> None:
    cluster = bring(running("b"), ["a"])
    assert cluster.seen == [
        Pin(POLICY, "b"),
        Label("a", True),
        Scale(2),
        Pin(POLICY, "a"),
        Label("b", False),
        RemoveAgent("agent-b-0", "b"),
        Scale(1),
    ]


def test_a_second_router_takes_nothing_away_from_the_first() -> None:
    """Cilium takes the first one by name, which has no agent yet."""
    cluster = bring(running("b"), ["a", "b"])
    assert cluster.seen == [Pin(POLICY, "b"), Label("a", True)]
    assert cluster.gateway == "b"


@pytest.mark.parametrize(("gateway", "pins"), [("a", 0), ("b", 1), (None, 1)])
def test_a_second_router_goes(gateway: str | None, pins: int) -> None:
    cluster = bring(running("a", "b", gateway=gateway), ["a"])
    assert sum(isinstance(action, Pin) for action in cluster.seen) == pins
    assert cluster.gateway == "a"


def test_nothing_changes_where_all_is_in_its_place() -> None:
    assert bring(running("a", "b", gateway="b"), ["a", "b"]).seen == []


def test_what_was_never_linked_has_no_policy_to_wait_for() -> None:
    cluster = running("a")
    cluster.linked = False
    assert next_step(["b"], cluster.now()).actions == [
        Label("b", True),
        Label("a", False),
        RemoveAgent("agent-a-0", "a"),
    ]


def test_a_machine_that_has_not_joined_is_waited_for_and_the_others_get_their_label() -> None:
    cluster = running("a", nodes="ab")
    step = next_step(["a", "b", "d"], cluster.now())
    assert (step.actions, step.state, step.done) == (
        [Pin(POLICY, "a"), Label("b", True)],
        "d has not joined the cluster",
        False,
    )


def test_without_an_agent_nothing_is_taken_from_the_router_that_goes() -> None:
    cluster = running("a", gateway="a")
    cluster.labelled.add("b")
    cluster.wanted_agents = 2
    step = next_step(["b"], cluster.now())
    assert (step.actions, step.done) == ([], False)
    assert step.state == "b has no agent that is connected; until then a goes on"
    cluster.agents["agent-b"] = "b"
    assert next_step(["b"], cluster.now()).actions == []


def moved(cluster: Cluster, wanted: Sequence[str], *, rounds: int, dead: str | None = None) -> bool:
    """Whether the cluster has the wanted routers after so many rounds at the most. ``dead`` never has its route."""
    for _ in range(rounds):
        step = next_step(wanted, cluster.now())
        for action in step.actions:
            cluster.act(action)
        if step.done:
            return True
        cluster.pass_time()
        if dead is not None:
            cluster.routed.discard(dead)
    return False


def test_a_peer_that_is_away_holds_no_router_up() -> None:
    """Nobody has a route to it, and nobody will."""
    cluster = running("a", gateway="a")
    cluster.peer_there = False
    assert moved(cluster, ["b"], rounds=6)
    assert cluster.labelled == {"b"}
    assert cluster.gateway == "b"


def test_a_router_that_died_is_followed_by_another_one() -> None:
    """Its agent is not connected, and its pod may never end."""
    cluster = running("a", gateway="a")
    cluster.routed.clear()
    assert moved(cluster, ["b"], rounds=8, dead="a")
    assert (cluster.labelled, cluster.gateway) == ({"b"}, "b")


def test_a_policy_leads_to_a_router_that_has_a_route() -> None:
    both = RoutersNow(
        joined=frozenset("ab"),
        labelled=frozenset("ab"),
        agents={"x": "a", "y": "b"},
        ready=frozenset("ab"),
        gateways={POLICY: "a", "isthmus-to-kz": None, "isthmus-to-us": "c"},
        routed={POLICY: frozenset("b"), "isthmus-to-kz": frozenset("ab"), "isthmus-to-us": frozenset()},
        selectable=frozenset("ab"),
        wanted_agents=2,
    )
    assert settled(["a", "b"], both) == [Pin(POLICY, "b"), Pin("isthmus-to-kz", "a"), Pin("isthmus-to-us", "a")]


SOME = st.sets(st.sampled_from("abcd"), min_size=1)


@settings(max_examples=150, deadline=None)
@given(SOME, st.lists(SOME, min_size=1, max_size=3), st.integers(0, 3), st.booleans())
def test_from_any_routers_to_any_others_the_link_is_carried_all_the_while(
    first: set[str], wanted: list[set[str]], stops: int, pinned: bool
) -> None:
    """Each run but the last is interrupted after some steps."""
    cluster = running(*first, gateway=min(first) if pinned else None)
    for routers in wanted[:-1]:
        for _ in range(stops):
            for action in next_step(sorted(routers), cluster.now()).actions:
                cluster.act(action)
                assert cluster.carries(), (action, cluster)
            cluster.pass_time()
    bring(cluster, sorted(wanted[-1]), rounds=20)


def test_a_policy_that_leads_to_a_router_that_stays_is_left_alone() -> None:
    cluster = bring(running("a", "b", "c", gateway="b"), ["a", "b"])
    assert not [action for action in cluster.seen if isinstance(action, Pin)]


def test_an_agent_that_is_connected_and_has_no_route_takes_nothing_over() -> None:
    """NetBird knows it, and nothing passes by it yet."""
    cluster = running("a", gateway="a")
    cluster.labelled.add("b")
    cluster.wanted_agents = 2
    cluster.agents["agent-b"] = "b"
    now = replace(cluster.now(), ready=frozenset("ab"), selectable=frozenset("ab"))
    step = next_step(["b"], now)
    assert (step.actions, step.state) == ([], "b does not reach every peer yet; until then a goes on")


def test_a_router_whose_label_cilium_has_not_seen_takes_nothing_over() -> None:
    """The other nodes would find no gateway, and drop what is for the peer."""
    cluster = running("a", gateway="a")
    cluster.labelled.add("b")
    cluster.wanted_agents = 2
    cluster.agents["agent-b"] = "b"
    cluster.routed.add("b")
    step = next_step(["b"], cluster.now())
    assert (step.actions, step.state) == ([], "Cilium does not know b as a router yet; until then a goes on")
    assert settled(["a", "b"], replace(cluster.now(), gateways={POLICY: None})) == [Pin(POLICY, "a")]
    cluster.selectable.add("b")
    assert Pin(POLICY, "b") in next_step(["b"], cluster.now()).actions
