"""Which router carries, by the packets that it counts; and where a pod stands, seen from it."""

from __future__ import annotations

import pytest

from lab.errors import LabError
from lab.failover.carrying import busiest
from lab.failover.run import placement


@pytest.mark.parametrize("counted", [{"a": 300, "b": 20}, {"b": 0, "a": 300}, {"a": 1}])
def test_the_one_with_the_packets_carries(counted: dict[str, int]) -> None:
    assert busiest(counted) == "a"


@pytest.mark.parametrize(
    "counted",
    [{"a": 0, "b": 0}, {"a": 300, "b": 80}, {"a": 0}, {"a": -4000, "b": -3}],
    ids=["none", "both", "single", "wt0 was made anew"],
)
def test_without_a_single_one_nothing_is_measured(counted: dict[str, int]) -> None:
    with pytest.raises(LabError, match="no single router carries") as raised:
        busiest(counted)
    assert all(f"{node} {packets}" in str(raised.value) for node, packets in counted.items())


@pytest.mark.parametrize(("node", "place"), [("mn-2", "router"), ("mn-3", "other-router"), ("mn-1", "third")])
def test_places_are_seen_from_the_router_with_the_fault(node: str, place: str) -> None:
    assert placement(node, "mn-2", ["mn-2", "mn-3"]) == place
