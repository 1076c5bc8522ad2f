"""Faults of what carries ClusterIPs: told where the link carries them, and never as what explains lost packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from domain import overlay
from lab.status.facts import NetBirdFacts, ResourceFacts
from lab.status.judging import judge
from lab.status.results import Cause
from tests.lab.status.samples import HEALTH, MN, MN_PODS, NETBIRD, name_probe, probes, resource

SERVICES = IPv4Network("10.45.0.0/16")
POLICY = "isthmus-de-to-mn-services"
CARRIED = replace(
    HEALTH,
    source=replace(HEALTH.source, policies=frozenset({str(MN_PODS), str(SERVICES)})),
    target=replace(MN, services=SERVICES),
)
OFFERED = ResourceFacts(
    address=str(SERVICES),
    enabled=True,
    groups=frozenset({overlay.services_group("mn")}),
    routers=resource(MN_PODS, "mn").routers,
)
WHOLE = replace(NETBIRD, resources=(*NETBIRD.resources, OFFERED))


def told(netbird: NetBirdFacts, *, carried: bool = True) -> list[Cause]:
    facts = replace(CARRIED if carried else HEALTH, netbird=netbird)
    return list(judge(facts, probes(), [name_probe()]))


def without_policy() -> NetBirdFacts:
    return replace(WHOLE, policies={name: policy for name, policy in WHOLE.policies.items() if name != POLICY})


def test_nothing_in_health() -> None:
    assert told(WHOLE) == []


@pytest.mark.parametrize(
    ("netbird", "says"),
    [
        (without_policy(), ("policy-missing", f"NetBird, {POLICY}")),
        (NETBIRD, ("resource-missing", "NetBird, services of mn")),
        (
            replace(WHOLE, resources=(*NETBIRD.resources, replace(OFFERED, enabled=False))),
            ("resource-disabled", "NetBird, services of mn"),
        ),
        (
            replace(WHOLE, resources=(*NETBIRD.resources, replace(OFFERED, groups=frozenset({"office"})))),
            ("resource-missing", "NetBird, services of mn"),
        ),
    ],
)
def test_a_fault_is_a_remark(netbird: NetBirdFacts, says: tuple[str, str]) -> None:
    (cause,) = told(netbird)
    assert (cause.id, cause.where) == says
    assert (cause.kind, cause.explains) == ("remark", False)


def test_a_link_without_cluster_ips_lacks_nothing() -> None:
    assert told(replace(without_policy(), resources=NETBIRD.resources), carried=False) == []
