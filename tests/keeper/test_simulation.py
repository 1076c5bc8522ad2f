"""What whole clusters of keepers do: no time and no network, but the real decision and the real messages."""

from __future__ import annotations

import functools
import pickle
from collections import Counter
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from keeper import conversation, messages
from keeper.decision import CONTESTED_SECONDS, HOLD_SECONDS
from tests.keeper.simulation import World

# What takes five seconds may take a minute while the machine builds something.
pytestmark = pytest.mark.timeout(300)


ADDRESS: Final = functools.cache(messages._address)
WITHIN: Final = functools.cache(conversation._within)


@pytest.fixture(autouse=True)
def _each_address_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same dozen stands in every datagram, and the library takes a seventh of a world's time for them."""
    monkeypatch.setattr(messages, "_address", ADDRESS)
    monkeypatch.setattr(conversation, "_within", WITHIN)


def settled(sites: dict[str, int] | None = None, *, seed: int = 1, old: frozenset[str] = frozenset()) -> World:
    """Two clusters of two routers, up for a while. Each call gives a world of its own."""
    world: World = pickle.loads(_settled(tuple((sites or {"de": 2, "mn": 2}).items()), seed, old))
    return world


@functools.cache
def _settled(sites: tuple[tuple[str, int], ...], seed: int, old: frozenset[str]) -> bytes:
    """Most tests begin in the same one, which takes as long as what they do in it."""
    world = World(dict(sites), seed=seed, loss=0.01, delay=1, old=old)
    world.run(15)
    for cluster in world.clusters.values():
        assert cluster.moves == []
        if cluster.name not in old and len(cluster.routers) > 1:
            assert [cluster.policies[peer][0] for peer in cluster.policies] == [f"{cluster.name}-1"] * len(
                cluster.policies
            )
    return pickle.dumps(world)


def moves(world: World, cluster: str) -> list[tuple[str, str, str]]:
    return [(move.peer, move.old, move.new) for move in world.clusters[cluster].moves]


def seconds_until_moved(world: World, cluster: str, *, within: float) -> float:
    start, count = world.now, len(world.clusters[cluster].moves)
    while len(world.clusters[cluster].moves) == count:
        assert world.now - start < within, "nothing has moved"
        world.run(0.05)
    return world.now - start


def seconds_until_over(world: World, node: str, peer: str, router: str, *, within: float) -> float:
    start = world.now
    while world.nodes[node].holder[peer] != router:
        assert world.now - start < within, f"{node} still sends by {world.nodes[node].holder[peer]}"
        world.run(0.05)
    return world.now - start


def seeds(count: int, always: int) -> list[Any]:
    """Draws of what is lost and when; the first ones always run."""
    return [pytest.param(seed, marks=() if seed < always else pytest.mark.thorough) for seed in range(count)]


@pytest.mark.parametrize("seed", seeds(5, always=2))
def test_a_machine_that_dies(seed: int) -> None:
    world = settled(seed=seed)
    world.switch_off("mn-1")
    assert 1.5 < seconds_until_over(world, "de-1", "mn", "mn-2", within=3) < 2.3
    assert seconds_until_over(world, "de-2", "mn", "mn-2", within=1) < 0.6
    world.run(2)
    assert moves(world, "mn") == [("de", "mn-1", "mn-2")]
    assert moves(world, "de") == []
    # It comes back, and nothing goes back to it.
    world.switch_on("mn-1")
    world.run(60)
    assert moves(world, "mn") == [("de", "mn-1", "mn-2")]
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-2"}


def test_a_node_that_says_that_it_is_not_in_order_is_left_within_a_second() -> None:
    world = settled()
    world.nodes["mn-1"].in_order = False
    assert seconds_until_moved(world, "mn", within=2) < 1.0
    assert seconds_until_over(world, "de-1", "mn", "mn-2", within=1) <= 0.5
    world.nodes["mn-1"].in_order = True
    world.run(60)
    assert moves(world, "mn") == [("de", "mn-1", "mn-2")]


def test_a_tunnel_that_carries_nothing_any_more() -> None:
    """The router can't tell the peer, but its sibling can."""
    world = settled()
    world.nodes["mn-1"].tunnel_up = False
    assert seconds_until_moved(world, "mn", within=2) < 1.0
    assert world.nodes["de-1"].holder["mn"] == "mn-2"
    world.run(20)
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-2"}


def test_a_router_that_says_it_is_in_order_and_passes_nothing_on() -> None:
    world = settled()
    world.nodes["mn-1"].passes = False
    assert seconds_until_over(world, "de-1", "mn", "mn-2", within=4) > 2
    world.run(60)
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-2"}
    assert world.nodes["de-1"].decision.views["mn"].own.good is True
    # It is asked again only when it is used again; a dead one is worse than one that was bad minutes ago.
    world.nodes["mn-1"].passes = True
    world.run(300)
    world.switch_off("mn-2")
    world.run(3)
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-1"}


def test_a_keeper_behind_a_router_that_goes_makes_the_router_no_worse() -> None:
    world = settled()
    world.switch_off("mn-2")
    world.run(10)
    assert world.nodes["de-1"].decision.views["mn"].own.good is True
    world.switch_on("mn-2")
    world.run(10)
    world.nodes["mn-2"].running = False
    world.run(10)
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-1"}
    assert world.nodes["de-1"].decision.views["mn"].own.good is True


def test_a_drain_moves_both_ways_at_once_and_past_the_hold() -> None:
    world = settled()
    world.nodes["mn-1"].draining = True
    assert seconds_until_moved(world, "mn", within=1) <= 0.6
    world.run(1)
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-2"}
    world.nodes["mn-1"].draining = False
    world.run(2)
    world.nodes["mn-2"].draining = True
    assert seconds_until_moved(world, "mn", within=1) <= 0.6
    world.run(1)
    assert moves(world, "mn") == [("de", "mn-1", "mn-2"), ("de", "mn-2", "mn-1")]
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-1"}


def test_a_drain_of_the_only_good_router_moves_nothing() -> None:
    world = settled()
    world.switch_off("mn-2")
    world.run(5)
    world.nodes["mn-1"].draining = True
    world.run(30)
    assert moves(world, "mn") == []
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-1"}


def test_nothing_moves_when_all_are_bad_and_the_first_that_is_back_has_it_within_five_seconds() -> None:
    world = settled()
    world.switch_off("mn-1")
    world.switch_off("mn-2")
    world.run(30)
    assert moves(world, "mn") == moves(world, "de") == []
    view = world.nodes["de-1"].decision.views["mn"]
    assert (view.own.good, view.own.reason) == (False, "mn-1 does not answer; mn-2 does not answer")
    world.switch_on("mn-2")
    assert seconds_until_over(world, "de-1", "mn", "mn-2", within=5) < 1
    assert seconds_until_moved(world, "mn", within=5) < 4.5
    world.run(20)
    assert moves(world, "mn") == [("de", "mn-1", "mn-2")]
    assert moves(world, "de") == []


@pytest.mark.parametrize("seed", seeds(10, always=4))
def test_a_peer_whose_routers_all_die_moves_nothing_on_this_side(seed: int) -> None:
    """They see it in different rounds: whoever sees it later must not think that it is better."""
    world = settled(seed=seed)
    for name in ("mn-1", "mn-2"):
        world.switch_off(name)
    world.run(20)
    assert moves(world, "de") == []


def test_a_keeper_that_is_replaced_moves_nothing() -> None:
    world = settled()
    for name in ("mn-1", "mn-2", "de-1", "de-2"):
        world.nodes[name].running = False
        world.run(20)
        world.start(name)
        world.run(10)
    assert moves(world, "mn") == moves(world, "de") == []


def test_a_keeper_that_stays_away_is_left_in_the_end() -> None:
    world = settled()
    world.nodes["mn-1"].running = False
    world.run(25)
    assert moves(world, "mn") == []
    world.run(15)
    assert moves(world, "mn") == [("de", "mn-1", "mn-2")]


@pytest.mark.parametrize("seconds", [0.9, 2.0, 8.0, 3600.0])
def test_a_keeper_that_was_not_scheduled_thinks_nobody_dead(seconds: float) -> None:
    """To it it looks as if the clock had jumped; all others are silent for as long."""
    world = settled()
    for name in ("mn-2", "de-1", "de-2"):
        world.nodes[name].stopped = True
    world.nodes["mn-1"].stopped = True
    world.now += seconds
    for node in world.nodes.values():
        node.stopped = False
    world.run(20)
    assert moves(world, "mn") == moves(world, "de") == []


def test_two_that_think_each_other_dead_leave_it_where_it_is_as_long_as_the_peer_sees_both() -> None:
    world = settled()
    world.cut.add(frozenset(("mn-1", "mn-2")))
    world.run(60)
    assert world.nodes["mn-2"].talk.siblings["mn-1"].state == "dead"
    assert moves(world, "mn") == []
    # And when the one really dies, the peer does not see it any more either.
    world.switch_off("mn-1")
    assert seconds_until_moved(world, "mn", within=5) < 3.5


def test_two_that_think_each_other_dead_and_have_nobody_to_ask_soon_stop() -> None:
    world = settled({"de": 1, "mn": 2}, old=frozenset({"de"}))
    world.cut.add(frozenset(("mn-1", "mn-2")))
    world.run(600)
    times = [move.at for move in world.clusters["mn"].moves]
    assert len(times) >= 1
    assert all(later - earlier >= CONTESTED_SECONDS for earlier, later in pairwise(times))
    world.cut.clear()
    count = len(times)
    world.run(CONTESTED_SECONDS + 60)  # nothing waits longer
    assert len(world.clusters["mn"].moves) == count


def test_an_old_peer_without_keepers_never_causes_a_move() -> None:
    world = settled({"de": 2, "mn": 2}, old=frozenset({"de"}))
    for name in ("de-1", "de-2"):
        world.switch_off(name)
    world.run(60)
    assert moves(world, "mn") == []
    assert {world.nodes[name].holder["de"] for name in ("mn-1", "mn-2")} == {"de-1"}
    # What is wrong at home still does.
    world.switch_off("mn-1")
    world.run(5)
    assert moves(world, "mn") == [("de", "mn-1", "mn-2")]


def test_one_router_stays_as_it_is_and_its_policy_names_nobody() -> None:
    world = settled({"de": 1, "mn": 2})
    world.switch_off("de-1")
    world.run(20)
    world.switch_on("de-1")
    world.run(20)
    assert world.clusters["de"].policies["mn"][0] is None
    # The interface is another one after a boot: Cilium has to look again.
    assert world.clusters["de"].policies["mn"][2] == "de-1 2"
    assert moves(world, "de") == moves(world, "mn") == []


def test_a_node_that_no_file_names_yet_keeps_the_policy_for_three_minutes() -> None:
    """An `up` may have named it, and the file is on its way."""
    world = settled()
    cluster = world.clusters["mn"]
    cluster.policies["de"] = ("mn-9", 7, "")
    world.run(175)
    assert moves(world, "mn") == []
    assert seconds_until_moved(world, "mn", within=15)
    assert moves(world, "mn") == [("de", "mn-9", "mn-1")]


def test_the_second_takes_it_when_the_first_does_not_reach_the_api() -> None:
    world = settled({"de": 2, "mn": 3})
    world.nodes["mn-2"].api_up = False
    world.switch_off("mn-1")
    assert seconds_until_moved(world, "mn", within=6) > 2
    assert moves(world, "mn") == [("de", "mn-1", "mn-3")]


def test_an_api_that_is_away_delays_the_move_until_it_is_back() -> None:
    world = settled()
    world.clusters["mn"].api_up = False
    world.switch_off("mn-1")
    world.run(30)
    assert moves(world, "mn") == []
    assert {world.nodes[name].holder["mn"] for name in ("de-1", "de-2")} == {"mn-2"}
    world.clusters["mn"].api_up = True
    assert seconds_until_moved(world, "mn", within=4) < 3.5


def test_every_pair_of_three_sites_moves_alone() -> None:
    world = settled({"de": 2, "mn": 2, "kz": 2})
    world.nodes["kz-1"].in_order = False
    world.run(5)
    assert sorted(moves(world, "kz")) == [("de", "kz-1", "kz-2"), ("mn", "kz-1", "kz-2")]
    assert moves(world, "de") == moves(world, "mn") == []
    for name in ("de-1", "de-2", "mn-1", "mn-2"):
        holder = world.nodes[name].holder
        assert (holder["kz"], set(holder.values()) - {"kz-2"}) == ("kz-2", {"mn-1"} if name[:2] == "de" else {"de-1"})


def test_what_netbird_gives_elsewhere_is_given_back() -> None:
    world = settled()
    world.nodes["mn-1"].in_order = False
    world.run(2)
    world.nodes["de-1"].holder["mn"] = "mn-1"
    world.run(1)
    assert world.nodes["de-1"].holder["mn"] == "mn-2"


@pytest.mark.parametrize("loss", [pytest.param(0.0, marks=pytest.mark.thorough), 0.03])
def test_five_quiet_minutes(loss: float) -> None:
    world = World({"de": 2, "mn": 2}, seed=7, loss=loss, delay=2)
    world.run(300)
    assert moves(world, "de") == moves(world, "mn") == []


EVENTS = st.lists(
    st.tuples(
        st.floats(0.1, 6.0),
        st.sampled_from(["off", "on", "break", "mend", "down", "up", "cut", "join", "stop", "go", "no api", "api"]),
        st.sampled_from(["de-1", "de-2", "mn-1", "mn-2", "mn-3"]),
    ),
    min_size=4,
    max_size=14,
)
DONE: Counter[str] = Counter()


def happen(world: World, what: str, name: str) -> None:
    node = world.nodes[name]
    sibling = next(other for other in node.cluster.routers if other != name)
    match what:
        case "off":
            world.switch_off(name)
        case "on" if not node.alive:
            world.switch_on(name)
        case "break" | "mend":
            node.in_order = what == "mend"
        case "down" | "up":
            node.tunnel_up = what == "up"
        case "cut":
            world.cut.add(frozenset((name, sibling)))
        case "join":
            world.cut.clear()
        case "stop" | "go":
            node.stopped = what == "stop"
        case "no api" | "api":
            node.api_up = what == "api"
        case _:
            return
    DONE[what] += 1


IN_TURN: Final = [
    (12.0, what, name)
    for what, name in (
        *(("off", "de-1"), ("on", "de-1"), ("break", "de-2"), ("mend", "de-2"), ("down", "de-1"), ("up", "de-1")),
        *(("stop", "mn-1"), ("go", "mn-1"), ("no api", "mn-3"), ("cut", "mn-2"), ("join", "mn-2"), ("api", "mn-3")),
        *(("break", "mn-2"), ("mend", "mn-2")),
    )
]
"""Each event, with time for the move that some of them bring."""


def whatever_happens(events: list[tuple[float, str, str]], seed: int) -> None:
    DONE["worlds"] += 1
    world = World({"de": 2, "mn": 3}, seed=seed, loss=0.02, delay=1)
    world.run(8)
    counted = dict.fromkeys(world.clusters, 0)
    for seconds, what, name in events:
        happen(world, what, name)
        steps = round(seconds / 0.05)
        for _ in range(steps):
            world.run(0.05)
            for cluster in world.clusters.values():
                for move in cluster.moves[counted[cluster.name] :]:
                    DONE["moves"] += 1
                    # Only the taker itself moves it, and only one that works, as far as it can know.
                    taker = world.nodes[move.new]
                    assert move.new != move.old
                    assert taker.talk.myself.ok is not False, move
                counted[cluster.name] = len(cluster.moves)
    for cluster in world.clusters.values():
        times = [move.at for move in cluster.moves]
        for earlier, later in pairwise(times):
            assert later - earlier >= HOLD_SECONDS, cluster.moves
    # All is mended: what is named in the end serves, and nothing moves any more.
    for node in world.nodes.values():
        node.in_order = node.tunnel_up = node.api_up = True
        node.stopped = False
        if not node.alive:
            world.switch_on(node.name)
    world.cut.clear()
    world.run(30)
    before = {cluster.name: len(cluster.moves) for cluster in world.clusters.values()}
    world.run(20)
    for cluster in world.clusters.values():
        assert len(cluster.moves) == before[cluster.name], cluster.moves
        for peer in cluster.policies:
            assert world.nodes[cluster.out(peer)].serves
    for node in world.nodes.values():
        for view in node.decision.views.values():
            assert view.own.good is True, (node.name, view)


@pytest.mark.parametrize("draws", [2, pytest.param(12, marks=pytest.mark.thorough)])
def test_whatever_happens(draws: int) -> None:
    """It would say nothing if nothing moved, and if an event never came."""
    DONE.clear()
    # Without shrinking: it takes minutes here, and the moves say enough. What is drawn depends on what else is
    # imported, so what is counted below is in the example.
    some = settings(max_examples=draws, phases=[Phase.explicit, Phase.generate], derandomize=True)
    some(example(IN_TURN, 0)(given(EVENTS, st.integers(0, 1000))(whatever_happens)))()
    assert DONE["worlds"] > draws
    assert DONE["moves"] >= 5
    assert {what for _, what, _ in IN_TURN} <= DONE.keys()
