"""What is decided of one look: who takes a policy, when, and why not. Times are numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.config import Config, Peer
from keeper.decision import HOLD_SECONDS, SETTLE_SECONDS, Decision, Memory, NamePolicy, PeerMemory, decide
from keeper.over import OverMemory, SteerOver
from keeper.seen import UNNAMED, OwnSeen, PolicySeen, RouterSeen, Seen, SiblingSeen

CONFIG = Config(
    cluster="mn",
    port=51823,
    interface="wt0",
    routers={"mn-1": "10.10.0.11", "mn-2": "10.10.0.12", "mn-3": "10.10.0.13"},
    pod_cidr="10.52.0.0/16",
    peers={"de": Peer({"de-1": "100.64.2.1", "de-2": "100.64.2.2"}, ("10.42.0.0/16",), "isthmus-to-de", 51823)},
)
OLD = replace(CONFIG, peers={"de": replace(CONFIG.peers["de"], port=None)})
GOOD = SiblingSeen("alive", ok=True, good={"de": True})
ROUTER = RouterSeen("alive", ok=True, sees={"mn-1": True, "mn-2": True, "mn-3": True})
BLIND = RouterSeen("alive", ok=True)
QUIET = Seen(
    now=100.0,
    own=OwnSeen(ok=True, stamp="mn-2 7 100.64.1.2", routed={"de": True}),
    siblings={"mn-1": GOOD, "mn-3": GOOD},
    routers={"de": {"de-1": ROUTER, "de-2": ROUTER}},
    policies={"de": PolicySeen("mn-1", "7", "mn-1 3 100.64.1.1")},
    over={"de": "de-1"},
)
SETTLED = Memory(last=99.8, settled_at=0.0, peers={"de": PeerMemory(out="mn-1", over=OverMemory("de-1"))})
DEAD: dict[str, Any] = {
    "siblings": {"mn-1": replace(GOOD, state="dead"), "mn-3": GOOD},
    "routers": {"de": {"de-1": BLIND, "de-2": BLIND}},
}


@dataclass
class Watch:
    """Looks again and again at what stays as it is."""

    config: Config = CONFIG
    me: str = "mn-2"
    memory: Memory = SETTLED
    decision: Decision = Decision((), {})  # noqa: RUF009

    def after(self, seconds: float, seen: Seen) -> list[Any]:
        """Everything that is done within that time from now."""
        done: list[Any] = []
        start = self.memory.last or seen.now
        for round_ in range(round(seconds / 0.2) + 1):
            now = round(start + round_ * 0.2, 3)
            self.memory, self.decision = decide(self.config, self.me, self.memory, replace(seen, now=now))
            done += self.decision.actions
        return done

    @property
    def reason(self) -> str:
        return self.decision.views["de"].reason


def take(done: list[Any]) -> list[tuple[str | None, str]]:
    return [(action.node, action.reason) for action in done if isinstance(action, NamePolicy) and action.move]


def test_nothing_is_done_when_all_is_well() -> None:
    for me in CONFIG.routers:
        siblings = {name: GOOD for name in CONFIG.routers if name != me}
        seen = replace(QUIET, siblings=siblings, own=replace(QUIET.own, stamp="mn-1 3 100.64.1.1"))
        watch = Watch(me=me)
        assert watch.after(60, seen) == []
        view = watch.decision.views["de"]
        assert (view.own.good, view.out, view.over, view.reason) == (True, "mn-1", "de-1", "")


@pytest.mark.parametrize(
    ("change", "reason", "at_least", "at_most"),
    [
        (DEAD, "mn-1 is silent", 0.2, 0.6),
        ({"siblings": {"mn-1": replace(GOOD, ok=False), "mn-3": GOOD}}, "mn-1 says that it is not in order", 0.2, 0.8),
        ({"siblings": {"mn-1": replace(GOOD, draining=True), "mn-3": GOOD}}, "mn-1 is drained", 0.0, 0.2),
        (
            {"siblings": {"mn-1": replace(GOOD, good={"de": False}), "mn-3": GOOD}},
            "mn-1 reaches no router of de",
            1,
            1.6,
        ),
        ({"policies": {"de": PolicySeen("mn-9", "7")}}, "mn-9 is no router any more", 182, 182.6),
        (
            {
                "siblings": {"mn-1": replace(GOOD, state="away"), "mn-3": GOOD},
                "routers": {"de": {"de-1": RouterSeen("alive", ok=True, sees={"mn-1": False})}},
            },
            "the keeper of mn-1 is away, and de does not reach it",
            1,
            1.6,
        ),
    ],
)
def test_who_is_left_for_what_and_how_soon(
    change: dict[str, Any], reason: str, at_least: float, at_most: float
) -> None:
    """mn-9's policy would be mn-1's to take, as the first by name: so mn-2 waits a little longer."""
    seen = replace(QUIET, **change)
    watch = Watch()
    assert take(watch.after(at_least - 0.2, seen)) == [] or at_least == 0
    taken = take(watch.after(at_most - at_least + 0.2, seen))
    assert taken[0] == ("mn-2", reason)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"siblings": {"mn-1": replace(GOOD, state="dead"), "mn-3": GOOD}}, ""),  # de still sees it
        ({"siblings": {"mn-1": SiblingSeen("unknown"), "mn-3": GOOD}}, ""),
        ({"siblings": {"mn-1": replace(GOOD, state="away"), "mn-3": GOOD}}, ""),
        ({"siblings": {"mn-1": replace(GOOD, ok=None, good={}), "mn-3": GOOD}}, ""),
        ({"siblings": {"mn-1": replace(GOOD, good={"de": None}), "mn-3": GOOD}}, ""),
        (
            DEAD | {"own": OwnSeen(ok=False, reasons=("wt0 is down",))},
            "mn-1 is silent; mn-2 is no better (mn-2: wt0 is down)",
        ),
        (DEAD | {"own": replace(QUIET.own, draining=True)}, "mn-1 is silent; mn-2 is no better"),
        (
            DEAD | {"routers": {"de": {"de-1": RouterSeen("dead"), "de-2": RouterSeen("alive", ok=False)}}},
            (
                "mn-1 is silent; mn-2 is no better (de-1 does not answer; de-2 says that it is not in order); "
                "de-1 does not answer; no other router of de is better"
            ),
        ),
        (
            DEAD | {"own": replace(QUIET.own, routed={"de": False})},
            "mn-1 is silent; mn-2 is no better (NetBird gives mn-2 no route to 10.42.0.0/16, though de is reached)",
        ),
        ({"policies": {}}, ""),
    ],
)
def test_who_is_not_left(change: dict[str, Any], why: str) -> None:
    watch = Watch()
    assert take(watch.after(60, replace(QUIET, **change))) == []
    assert watch.reason == why


def test_the_first_of_the_good_ones_takes_it_and_the_second_when_that_has_not() -> None:
    seen = replace(QUIET, **DEAD)
    third = Watch(me="mn-3")
    seen_by_third = replace(seen, siblings={"mn-1": replace(GOOD, state="dead"), "mn-2": GOOD})
    assert take(third.after(2.0, seen_by_third)) == []
    assert take(third.after(0.6, seen_by_third))[0] == ("mn-3", "mn-1 is silent")
    not_good = replace(seen, siblings={"mn-1": replace(GOOD, state="dead"), "mn-2": replace(GOOD, ok=False)})
    assert take(Watch(me="mn-3").after(0.6, not_good))[0] == ("mn-3", "mn-1 is silent")


def test_after_a_move_it_stays_for_the_hold_whoever_moved_it() -> None:
    watch = Watch()
    moved = replace(QUIET, policies={"de": PolicySeen("mn-3", "8")})
    assert take(watch.after(1, moved)) == []
    broken = replace(moved, siblings={"mn-1": replace(GOOD, ok=False), "mn-3": replace(GOOD, ok=False)})
    assert take(watch.after(HOLD_SECONDS - 1.4, broken)) == []
    assert watch.reason == "mn-3 says that it is not in order; held, because the link has just moved"
    assert take(watch.after(1, broken))[0] == ("mn-2", "mn-3 says that it is not in order")


def test_an_order_is_not_given_again_within_a_second() -> None:
    watch = Watch()
    assert len(take(watch.after(2.6, replace(QUIET, **DEAD)))) in (2, 3)


def test_nobody_is_judged_soon_after_the_start() -> None:
    watch = Watch(memory=Memory())
    watch.memory, _ = decide(CONFIG, "mn-2", Memory(), replace(QUIET, **DEAD))
    assert take(watch.after(SETTLE_SECONDS - 0.4, replace(QUIET, **DEAD))) == []
    assert take(watch.after(0.8, replace(QUIET, **DEAD)))


@pytest.mark.parametrize("jump", [-86400.0, 1.5, 86400.0])
def test_a_clock_that_jumps_does_nothing(jump: float) -> None:
    """Whatever was true before has to last anew, and the first look after it does nothing at all."""
    watch = Watch()
    assert take(watch.after(0.0, replace(QUIET, **DEAD))) == []
    assert watch.memory.last is not None
    later = watch.memory.last + jump
    watch.memory, decision = decide(CONFIG, "mn-2", watch.memory, replace(QUIET, **DEAD, now=later))
    assert decision.actions == ()
    assert take(watch.after(1.6, replace(QUIET, **DEAD))) == []
    assert take(watch.after(1.0, replace(QUIET, **DEAD)))


def test_an_old_peer_is_no_reason_and_its_way_over_is_netbirds() -> None:
    seen = replace(QUIET, routers={}, own=replace(QUIET.own, routed={"de": False}), over={"de": None})
    siblings = {"mn-1": replace(GOOD, good={"de": True}), "mn-3": GOOD}
    watch = Watch(config=OLD)
    assert watch.after(30, replace(seen, siblings=siblings)) == []
    assert watch.decision.views["de"].own.good is True


def test_a_policy_that_names_nobody_gets_the_name_of_the_node_that_has_it() -> None:
    """Cilium takes the first labelled node by name."""
    nameless = replace(QUIET, policies={"de": PolicySeen(None, "7")})
    (action, *_) = Watch(me="mn-1").after(0.2, replace(nameless, siblings={"mn-2": GOOD, "mn-3": GOOD}))
    assert (action.node, action.move, action.version) == ("mn-1", False, "7")
    assert Watch(me="mn-2").after(5, nameless) == []


def test_a_new_interface_makes_cilium_look_again() -> None:
    watch = Watch(me="mn-1", memory=SETTLED)
    own = replace(QUIET.own, stamp="mn-1 9 100.64.1.1")
    seen = replace(QUIET, own=own, siblings={"mn-2": GOOD, "mn-3": GOOD})
    (action, *_) = watch.after(0.2, seen)
    assert action == NamePolicy("de", None, "7", own.stamp, move=False, reason="the tunnel's interface is a new one")
    assert len(watch.after(4.4, seen)) == 0
    done = replace(seen, policies={"de": PolicySeen("mn-1", "8", own.stamp)})
    assert watch.after(30, done) == []


# --- the way over -----------------------------------------------------------------------------------------------------


def over(done: list[Any]) -> list[tuple[str, bool, str]]:
    return [(action.router, action.move, action.reason) for action in done if isinstance(action, SteerOver)]


BAD = RouterSeen("dead")
DRAINED = replace(ROUTER, draining=True)


@pytest.mark.parametrize(
    ("routers", "holder", "expected"),
    [
        ({"de-1": ROUTER, "de-2": ROUTER}, "de-1", []),
        ({"de-1": BAD, "de-2": ROUTER}, "de-1", [("de-2", True, "de-1 does not answer")]),
        (
            {"de-1": replace(ROUTER, ok=False), "de-2": ROUTER},
            "de-1",
            [("de-2", True, "de-1 says that it is not in order")],
        ),
        ({"de-1": DRAINED, "de-2": ROUTER}, "de-1", [("de-2", True, "de-1 is drained")]),
        ({"de-1": DRAINED, "de-2": BAD}, "de-1", []),
        ({"de-1": BAD, "de-2": DRAINED}, "de-1", []),
        ({"de-1": BAD, "de-2": BAD}, "de-1", []),
        ({"de-1": RouterSeen("unknown"), "de-2": ROUTER}, "de-1", []),
        ({"de-1": replace(ROUTER, state="away"), "de-2": ROUTER}, "de-1", []),
        ({"de-1": ROUTER, "de-2": ROUTER}, "de-2", [("de-1", False, "NetBird had it elsewhere")]),
        ({"de-1": BAD, "de-2": ROUTER}, "de-2", []),
        ({"de-1": ROUTER, "de-2": ROUTER}, None, [("de-1", False, "NetBird had it elsewhere")]),
    ],
)
def test_the_way_over(routers: dict[str, RouterSeen], holder: str | None, expected: list[Any]) -> None:
    seen = replace(QUIET, routers={"de": routers}, over={"de": holder})
    assert over(Watch().after(0.2, seen)) == expected


def test_the_way_over_is_held_after_a_move_but_for_a_drain() -> None:
    watch = Watch()
    assert over(watch.after(0, replace(QUIET, routers={"de": {"de-1": BAD, "de-2": ROUTER}})))
    back = replace(QUIET, routers={"de": {"de-1": ROUTER, "de-2": BAD}}, over={"de": "de-2"})
    assert over(watch.after(9.6, back)) == []
    assert over(watch.after(1, back))[0] == ("de-1", True, "de-2 does not answer")
    drained = Watch()
    assert over(drained.after(0, replace(QUIET, routers={"de": {"de-1": BAD, "de-2": ROUTER}})))
    seen = replace(QUIET, routers={"de": {"de-1": ROUTER, "de-2": DRAINED}}, over={"de": "de-2"})
    assert over(drained.after(0.4, seen))[0] == ("de-1", True, "de-2 is drained")


def test_a_router_that_the_file_does_not_name_keeps_what_netbird_gives_it() -> None:
    """The peer's only router has moved, and the old one still answers for some seconds."""
    watch = Watch()
    both = {"de": {"de-1": ROUTER, "de-2": ROUTER}}
    assert over(watch.after(0.2, replace(QUIET, routers=both, over={"de": UNNAMED}))) == []
    assert (
        over(watch.after(1, replace(QUIET, routers={"de": {"de-1": BAD, "de-2": ROUTER}}, over={"de": UNNAMED}))) == []
    )
    assert over(watch.after(1, replace(QUIET, routers=both, over={"de": "de-2"}))) == [], "what NetBird chose last"
    gone = replace(QUIET, routers={"de": {"de-1": ROUTER, "de-2": BAD}}, over={"de": "de-2"})
    assert over(watch.after(5, gone))[0] == ("de-1", True, "de-2 does not answer")


def test_ranges_that_netbird_gives_to_nobody_on_purpose_are_left() -> None:
    """Its route is gone as well: a policy or a resource was taken away."""
    own = replace(QUIET.own, routed={"de": False})
    assert over(Watch().after(5, replace(QUIET, own=own, over={"de": None}))) == []


# --- whatever is seen -------------------------------------------------------------------------------------------------

STATES = st.sampled_from(["unknown", "alive", "away", "dead"])
MAYBE = st.none() | st.booleans()
SIBLINGS = st.builds(
    SiblingSeen, state=STATES, ok=MAYBE, draining=st.booleans(), good=st.fixed_dictionaries({"de": MAYBE})
)
ROUTERS = st.builds(
    RouterSeen,
    state=STATES,
    ok=MAYBE,
    draining=st.booleans(),
    sees=st.dictionaries(st.sampled_from(["mn-1", "mn-3"]), st.booleans()),
)
LOOKS = st.builds(
    Seen,
    now=st.just(0.0),
    own=st.builds(
        OwnSeen,
        ok=MAYBE,
        draining=st.booleans(),
        stamp=st.just("s"),
        routed=st.fixed_dictionaries({"de": st.booleans()}),
    ),
    siblings=st.fixed_dictionaries({"mn-1": SIBLINGS, "mn-3": SIBLINGS}),
    routers=st.fixed_dictionaries({"de": st.fixed_dictionaries({"de-1": ROUTERS, "de-2": ROUTERS})}),
    policies=st.dictionaries(
        st.just("de"),
        st.builds(PolicySeen, node=st.sampled_from([None, "mn-1", "mn-2", "mn-3", "mn-9"]), version=st.just("1")),
    ),
    over=st.dictionaries(st.just("de"), st.sampled_from([None, "de-1", "de-2", UNNAMED])),
)


@given(st.lists(st.tuples(st.floats(0.05, 15.0), LOOKS), min_size=1, max_size=12))
def test_whatever_is_seen(looks: list[tuple[float, Seen]]) -> None:
    """Only for oneself, only when in order, and never twice within the hold."""
    memory, now = Memory(), 50.0
    out = ""
    moved_at: float | None = None
    given_over: list[float] = []
    for seconds, look in looks:
        # What lasts is seen several times.
        for part in range(4):
            now += min(seconds / 4, 0.9) if part else seconds
            seen = replace(look, now=now)
            memory, decision = decide(CONFIG, "mn-2", memory, seen)
            if "de" in seen.policies:
                before, out = out, seen.policies["de"].node or "mn-1"
                moved_at = now if before not in ("", out) else moved_at
            for action in decision.actions:
                if isinstance(action, NamePolicy):
                    assert action.node in (None, "mn-2")
                    assert seen.own.ok is True
                    assert not seen.own.draining
                    if action.move:
                        assert out != "mn-2"
                        sibling = seen.siblings.get(out)
                        past_the_hold = sibling is not None and sibling.state == "alive" and sibling.draining
                        assert past_the_hold or moved_at is None or now - moved_at >= HOLD_SECONDS
                else:
                    assert seen.routers["de"][action.router].good is True
                    if action.move:
                        left = [router for router in seen.routers["de"].values() if router.draining]
                        assert left or all(now - at >= HOLD_SECONDS for at in given_over)
                        given_over.append(now)
            assert set(decision.views) == {"de"}
