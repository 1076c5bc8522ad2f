from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from keeper.mending import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    Mend,
    MendMemory,
    NodeFacts,
    faults,
    mend,
)
from keeper.netlink import Interface, Route, Rule, attribute
from keeper.nftables import DELTABLE, NEWRULE, NEWTABLE, Piece

FIRST, SECOND = Rule(105, 254, "", b"105"), Rule(110, 7120, "", b"110")
GOOD = NodeFacts(
    forwarding=True,
    interface=Interface(7, up=True),
    address="100.92.0.7",
    rules=(FIRST, SECOND),
    routes=(Route("10.42.0.0/16", 7, b"route"),),
    filtering=True,
)


def learned() -> MendMemory:
    memory, actions = mend("wt0", MendMemory(), GOOD, 0.0)
    assert actions == ()
    assert faults("wt0", memory, GOOD, 0.0) == ()
    return memory


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"forwarding": False}, "net.ipv4.ip_forward is 0"),
        ({"interface": None}, "there is no wt0"),
        ({"interface": Interface(7, up=False)}, "wt0 is down"),
        ({"address": ""}, "wt0 has no address"),
        ({"filtering": False}, "NetBird's packet filter is gone"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], fault: str) -> None:
    assert faults("wt0", learned(), replace(GOOD, **change), 1.0) == (fault,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("unheard", "seconds"),
    [(0.0, 4.0), (1.0, 4.0), (1.3, 1.0), (60.0, 1.0)],
)
def test_an_agent_that_is_late_is_not_stopped(unheard: float, seconds: float) -> None:
    """With packets through the tunnel it lives, whatever its socket says; without, it soon does not."""
    late = replace(GOOD, silent=True, unheard=unheard)
    memory, _ = mend("wt0", learned(), late, 10.0)
    assert faults("wt0", memory, late, 10.0) == ()
    assert faults("wt0", memory, late, 10.0 + seconds - 0.1) == ()
    assert faults("wt0", memory, late, 10.0 + seconds) == ("NetBird's agent does not answer",)
    memory, _ = mend("wt0", memory, GOOD, 11.0)
    assert faults("wt0", memory, replace(late, unheard=60.0), 20.0) == ()


def test_a_node_without_nftables_of_netbirds_lacks_nothing() -> None:
    memory, _ = mend("wt0", MendMemory(), replace(GOOD, filtering=False), 0.0)
    assert faults("wt0", memory, replace(GOOD, filtering=False), 1.0) == ()


def test_rules_are_laid_again_in_the_second_look() -> None:
    """An agent that ends takes its rules away, and its interface a moment later."""
    gone = replace(GOOD, rules=(SECOND,))
    memory, actions = mend("wt0", learned(), gone, 1.0)
    assert actions == ()
    memory, actions = mend("wt0", memory, gone, 1.5)
    assert actions == (Mend("ip rules", "ip rules of NetBird were gone", rules=(b"105",)),)
    ended = replace(GOOD, rules=(), routes=(), interface=None, address="", filtering=False)
    assert mend("wt0", memory, ended, 2.0)[1] == ()


def test_what_an_earlier_interface_had_is_not_laid_for_a_new_one() -> None:
    new = NodeFacts(forwarding=True, interface=Interface(8, up=True), address="100.92.0.7")
    memory = learned()
    for second in range(1, 100):
        memory, actions = mend("wt0", memory, new, float(second))
        assert actions == ()


def test_an_interface_that_is_down_gets_its_routes_back() -> None:
    down = replace(GOOD, interface=Interface(7, up=False), routes=())
    _, actions = mend("wt0", learned(), down, 1.0)
    assert actions == (Mend("interface", "wt0 was down", routes=(b"route",)),)


def test_an_interface_that_was_never_up_is_left_to_netbird() -> None:
    starting = NodeFacts(forwarding=True, interface=Interface(8, up=False))
    assert mend("wt0", learned(), starting, 1.0)[1] == ()


@pytest.mark.parametrize(
    ("change", "reason", "seconds"),
    [
        ({"filtering": False}, "NetBird's packet filter was gone", 0.6),
        ({"silent": True}, "NetBird's agent did not answer", 5.0),
        ({"routes": ()}, "NetBird's routes were gone", 8.0),
    ],
)
def test_the_agent_is_started_anew_for_what_only_it_can_lay(
    change: dict[str, object], reason: str, seconds: float
) -> None:
    wrong = replace(GOOD, **change)  # type: ignore[arg-type]
    memory, actions = mend("wt0", learned(), wrong, 10.0)
    assert actions == ()
    memory, actions = mend("wt0", memory, wrong, 10.0 + seconds - 0.1)
    assert actions == ()
    memory, actions = mend("wt0", memory, wrong, 10.01 + seconds)
    assert actions == (Mend("agent", reason),)
    # Where that does not help it is tried less and less often.
    times = [10.0 + seconds]
    for tenths in range(200, 40_000, 5):
        memory, actions = mend("wt0", memory, wrong, tenths / 10)
        times += [tenths / 10] * len(actions)
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits[0] == pytest.approx(FIRST_WAIT_SECONDS, abs=1)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(LONGEST_WAIT_SECONDS, abs=1)


TABLE = Piece(NEWTABLE, 2, attribute(1, b"netbird\0"))
RULE = Piece(NEWRULE, 2, attribute(1, b"netbird\0") + attribute(7, b"first"))
FILTERED = replace(GOOD, tables=(TABLE, RULE))


@pytest.mark.parametrize(
    ("change", "fault", "laid"),
    [
        ({"filtering": False, "tables": ()}, "NetBird's packet filter is gone", (TABLE, RULE)),
        (
            {"tables": (TABLE,)},
            "parts of NetBird's packet filter are gone",
            (Piece(DELTABLE, 2, attribute(1, b"netbird\0")), TABLE, RULE),
        ),
    ],
)
def test_tables_that_are_known_are_laid_again(change: dict[str, object], fault: str, laid: tuple[Piece, ...]) -> None:
    wrong = replace(FILTERED, **change)  # type: ignore[arg-type]
    memory, _ = mend("wt0", MendMemory(), FILTERED, 0.0)
    assert faults("wt0", memory, wrong, 1.0) == (fault,)
    memory, actions = mend("wt0", memory, wrong, 1.0)
    assert actions == ()
    memory, actions = mend("wt0", memory, wrong, 1.6)
    assert actions == (Mend("packet filter", "NetBird's packet filter was gone", tables=laid),)
    again, _ = mend("wt0", memory, FILTERED, 1.7)
    assert faults("wt0", again, FILTERED, 1.7) == ()
    # The kernel takes them not.
    memory, actions = mend("wt0", memory, wrong, 2.9)
    assert [action.what for action in actions] == ["packet filter"]
    memory, actions = mend("wt0", memory, wrong, 3.0)
    assert [action.what for action in actions] == ["packet filter", "agent"]


def test_the_tables_that_count_are_those_of_the_last_look_in_order() -> None:
    memory, _ = mend("wt0", MendMemory(), FILTERED, 0.0)
    more = replace(FILTERED, tables=(TABLE, RULE, replace(RULE, content=attribute(1, b"netbird\0"))))
    memory, _ = mend("wt0", memory, more, 1.0)
    assert memory.tables == more.tables
    memory, _ = mend("wt0", memory, replace(more, tables=()), 2.0)
    assert memory.tables == more.tables
    # Another interface: another agent, which lays its own.
    memory, actions = mend("wt0", memory, replace(more, interface=Interface(8, up=True), tables=()), 9.0)
    assert (memory.tables, actions) == ((), ())


def test_a_new_interface_that_cilium_has_not_seen() -> None:
    """It comes a moment after NetBird has made the interface, or many seconds on a busy node."""
    unled = replace(GOOD, led=False)
    memory, _ = mend("wt0", MendMemory(), unled, 100.0)
    assert faults("wt0", memory, unled, 110.0) == ("Cilium has not seen the new wt0 yet",)
    # A Cilium that never leads anything there is none of this keeper's business.
    assert faults("wt0", memory, unled, 160.0) == ()
    memory, _ = mend("wt0", memory, replace(GOOD, led=True), 111.0)
    again = replace(unled, interface=Interface(8, up=True))
    memory, actions = mend("wt0", memory, again, 500.0)
    assert actions == ()
    assert faults("wt0", memory, again, 900.0) == ("Cilium has not seen the new wt0 yet",)


def test_after_a_boot_nothing_is_led_until_that_is_seen() -> None:
    """Cilium's own interface comes first, and its programs many seconds later: nothing can be told in between."""
    untold = replace(GOOD, led=None)
    memory, _ = mend("wt0", MendMemory(), replace(GOOD, led=False), 100.0)
    for now in (105.0, 129.0):
        memory, _ = mend("wt0", memory, untold, now)
        assert faults("wt0", memory, untold, now) == ("Cilium has not seen the new wt0 yet",)
    # A kernel that never tells must not keep a router out for good.
    assert faults("wt0", memory, untold, 130.0) == ()
    memory, _ = mend("wt0", memory, replace(GOOD, led=False), 131.0)
    assert faults("wt0", memory, untold, 132.0) == ("Cilium has not seen the new wt0 yet",)
    memory, _ = mend("wt0", memory, replace(GOOD, led=True), 133.0)
    assert faults("wt0", memory, untold, 134.0) == ()


def test_where_it_can_never_be_told_an_interface_counts_at_once() -> None:
    untold = replace(GOOD, led=None)
    memory, _ = mend("wt0", MendMemory(), untold, 100.0)
    assert faults("wt0", memory, untold, 100.0) == ()


def test_a_moment_without_filter_or_routes_is_none() -> None:
    memory = learned()
    for second in range(1, 50):
        facts = replace(GOOD, filtering=bool(second % 2), routes=GOOD.routes if second % 5 else ())
        memory, actions = mend("wt0", memory, facts, second / 2)
        assert actions == ()
