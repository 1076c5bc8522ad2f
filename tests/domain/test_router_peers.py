"""Which peer in NetBird is the router of which node, whatever it was called when it enrolled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from domain.router_peers import RouterPeers, router_peers

GROUP = "isthmus-de-routers"
PLAIN = "isthmus-de-router"
ONE, TWO, THREE = "100.92.0.1", "100.92.0.2", "100.92.0.3"


def peer(name: str, ip: str, **changes: Any) -> dict[str, Any]:
    return {"id": f"id-{ip}", "name": name, "ip": ip, "hostname": "localhost", "connected": True, **changes}


def found(nodes: Sequence[str], *peers: Mapping[str, Any], noted: Mapping[str, str] | None = None) -> RouterPeers:
    return router_peers(GROUP, nodes, noted or {}, peers)


def gone(result: RouterPeers) -> list[str]:
    return [str(item["ip"]) for item in result.left]


def test_the_only_router() -> None:
    result = found(["a"], peer(PLAIN, ONE))
    assert (result.addresses, gone(result)) == ({"a": ONE}, [])
    assert result.connected(["a"])


def test_several_carry_their_nodes_names() -> None:
    result = found(["a", "b.lan"], peer(f"{PLAIN}-b.lan", TWO), peer(f"{PLAIN}-a", ONE))
    assert (result.addresses, gone(result)) == ({"a": ONE, "b.lan": TWO}, [])


def test_from_one_to_two_and_back_everybody_stays_who_they_are() -> None:
    """The first one has enrolled with the plain name, which it keeps in NetBird."""
    first, second = peer(PLAIN, ONE), peer(f"{PLAIN}-b", TWO)
    two = found(["a", "b"], first, second, noted={"a": ONE})
    assert (two.addresses, gone(two)) == ({"a": ONE, "b": TWO}, [])
    result = found(["a"], first, second, noted=two.addresses)
    assert (result.addresses, gone(result)) == ({"a": ONE}, [TWO])


def test_from_two_to_the_one_that_came_later() -> None:
    first, second = peer(PLAIN, ONE), peer(f"{PLAIN}-b", TWO)
    result = found(["b"], first, second, noted={"a": ONE, "b": TWO})
    assert (result.addresses, gone(result)) == ({"b": TWO}, [ONE])


@pytest.mark.parametrize("order", [1, -1])
def test_a_router_that_moved_has_the_name_of_the_one_that_it_follows(order: int) -> None:
    """Both are connected for a while."""
    peers = [peer(PLAIN, ONE), peer(PLAIN, TWO)][::order]
    result = found(["b"], *peers, noted={"a": ONE})
    assert (result.addresses, gone(result)) == ({"b": TWO}, [ONE])


def test_before_the_new_router_has_enrolled_the_old_one_does_not_pass_for_it() -> None:
    result = found(["b"], peer(PLAIN, ONE), noted={"a": ONE})
    assert result.addresses == {}
    assert not result.connected(["b"])


def test_a_router_that_was_made_anew_takes_the_place_of_its_former_self() -> None:
    result = found(["a"], peer(PLAIN, ONE, connected=False), peer(PLAIN, TWO), noted={"a": ONE})
    assert (result.addresses, gone(result)) == ({"a": TWO}, [ONE])
    named = [peer(f"{PLAIN}-a", ONE, connected=False), peer(f"{PLAIN}-a", TWO), peer(f"{PLAIN}-b", THREE)]
    result = found(["a", "b"], *named, noted={"a": ONE, "b": THREE})
    assert (result.addresses, gone(result)) == ({"a": TWO, "b": THREE}, [ONE])


def test_of_several_plain_names_the_machines_name_tells_which() -> None:
    """As after a state that was lost: nothing is noted."""
    peers = [peer(PLAIN, ONE, hostname="b"), peer(PLAIN, TWO, hostname="a")]
    assert found(["a", "b"], *peers).addresses == {"a": TWO, "b": ONE}


def test_the_one_that_nothing_is_known_of_is_that_of_the_node_that_lacks_one() -> None:
    assert found(["a", "b"], peer(PLAIN, ONE), peer(f"{PLAIN}-b", TWO)).addresses == {"a": ONE, "b": TWO}
    assert found(["a", "b"], peer(PLAIN, ONE)).addresses == {}, "it may be that of either"


def test_of_two_that_are_alike_the_newer_one_counts_and_nobody_is_taken_away() -> None:
    old, new = peer(PLAIN, ONE, created_at="2026-01-01"), peer(PLAIN, TWO, created_at="2026-01-02")
    for peers in ([old, new], [new, old]):
        result = found(["a"], *peers)
        assert (result.addresses, gone(result)) == ({"a": TWO}, [])


def test_those_of_others_are_left_alone() -> None:
    others = [peer("laptop", TWO), peer("isthmus-mn-router", THREE), peer("isthmus-de-routers", "100.92.0.4")]
    result = found(["a"], peer(PLAIN, ONE), *others)
    assert (result.addresses, gone(result)) == ({"a": ONE}, [])
