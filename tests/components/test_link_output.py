"""The outputs that the peers' stacks read."""

from __future__ import annotations

import pytest

from components.link_output import link_of, offers_output
from domain.link import parse_link
from tests.components.recording import (
    LINKS,
    Run,
    shared_run,
)
from tests.domain.samples import MN, changed, plan_of, settings_of


def test_link_is_what_the_peer_reads() -> None:
    link = shared_run("de").outputs["link"]
    assert link.value == LINKS["de"]
    assert not link.secret


def test_every_router_is_named_with_both_of_its_addresses(two: Run) -> None:
    assert two.outputs["link"].value["routers"] == [
        {"node": "mn-1", "node_ip": "192.168.7.11", "peer_ip": "100.92.0.9"},
        {"node": "mn-2", "node_ip": "192.168.7.12", "peer_ip": "100.92.0.8"},
    ]


def test_the_link_is_what_its_reader_makes_of_it() -> None:
    plan = plan_of("mn", MN)
    link = link_of(plan, {"mn-2": "100.92.0.8", "worker-9": "100.92.0.1"})
    assert [(router.node, str(router.peer_ip)) for router in link.routers] == [("mn-2", "100.92.0.8")]
    assert parse_link(link.output(), "mn") == link


def test_a_router_without_an_address_is_a_fault() -> None:
    with pytest.raises(KeyError, match="mn-2"):
        link_of(plan_of("mn", MN), {"mn-1": "100.92.0.8"})


@pytest.mark.parametrize("taken", [True, False])
def test_what_is_offered_beside_it(taken: bool) -> None:
    assert offers_output(settings_of("mn", changed(MN, {"link.cluster_ips": taken}))) == {"cluster_ips": taken}
