"""What a guard is told, and what it tells."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from domain.guard import GuardState, guard_environment, guarded_ranges, read_state
from domain.link import parse_link
from tests.components.recording import LINKS


def test_ranges_are_what_links_carry_and_the_routers() -> None:
    links = [parse_link(LINKS[name], name) for name in ("mn", "de")]
    assert [str(range_) for range_ in guarded_ranges(links)] == [
        "10.42.0.0/16",
        "10.43.0.0/16",
        "10.52.0.0/16",
        "10.53.0.0/16",
        "100.92.0.7/32",
        "100.92.0.8/32",
    ]
    assert guarded_ranges([]) == ()


def test_environment() -> None:
    ranges = [IPv4Network("10.52.0.0/16"), IPv4Network("100.92.0.8")]
    found = guard_environment(ranges, IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16"))
    assert found["RANGES"] == "10.52.0.0/16 100.92.0.8/32"
    assert found["PRIORITIES"] == "101 102 103 104"
    assert found["PODS_PRIORITY"] == "100"
    assert (found["PODS"], found["SERVICES"]) == ("10.42.0.0/16", "10.43.0.0/16")
    assert "KEEPER_PORT" not in found
    with_keeper = guard_environment(ranges, IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16"), 51900)
    assert with_keeper == {**found, "KEEPER_PORT": "51900"}


@pytest.mark.parametrize(
    ("log", "state"),
    [
        ("", None),
        ("guard: something\n", None),
        (
            "STATE address= 10.52.0.0/16=none\nSTATE address=100.92.0.7 10.52.0.0/16=tunnel\nguard: more\n",
            GuardState("100.92.0.7", {"10.52.0.0/16": "tunnel"}),
        ),
        ("STATE address= 10.52.0.0/16=elsewhere x y=z\n", GuardState("", {"10.52.0.0/16": "elsewhere"})),
        ("STATE address=\n", GuardState("", {})),
    ],
)
def test_the_last_state_counts(log: str, state: GuardState | None) -> None:
    assert read_state(log) == state
