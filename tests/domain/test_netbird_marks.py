"""Which peers belong into the group of a cluster's routers, by their names alone."""

from __future__ import annotations

import pytest

from domain.netbird_marks import may_be_in

GROUP = "isthmus-de-routers"


@pytest.mark.parametrize("peer", ["isthmus-de-router", "isthmus-de-router-de-agent-1", "isthmus-de-router-1"])
def test_a_router_belongs_into_the_group_of_its_cluster(peer: str) -> None:
    assert may_be_in(GROUP, peer)


@pytest.mark.parametrize(
    "peer",
    [
        "isthmus-de-routerhall-router",
        "isthmus-de-routerhall-router-de-agent-1",
        "isthmus-de-routers",
        "isthmus-mn-router-mn-2",
        "isthmus-d-router",
        "laptop",
        "",
    ],
)
def test_nobody_else_does(peer: str) -> None:
    assert not may_be_in(GROUP, peer)


@pytest.mark.parametrize("group", ["isthmus-de-pods", "isthmus-de-router", "office"])
def test_into_another_group_nobody_does(group: str) -> None:
    assert not may_be_in(group, "isthmus-de-router")
    assert not may_be_in(group, group)
