from __future__ import annotations

import json

from domain.egress_policy import egress_policy
from domain.fleet import check_fleet, parse_fleet
from domain.overlay import policies
from domain.plan_report import FleetReport, fleet_report
from tests.domain.samples import DE, GIVEN, MN, changed, golden, text


def report(**stacks: dict[str, object]) -> FleetReport:
    fleet = parse_fleet({name: text(config) for name, config in stacks.items()})
    assert check_fleet(fleet) == []
    return fleet_report(fleet.stacks)


def test_the_whole_report() -> None:
    golden("plan.json", json.dumps(report(de=DE, mn=MN).as_json(), indent=2) + "\n")


def test_places() -> None:
    assert [cluster.place for cluster in report(de=DE, mn=MN).clusters] == ["Hetzner fsn1", "on-premise"]
    assert [cluster.place for cluster in report(de=DE, mn=GIVEN).clusters] == ["Hetzner fsn1", "existing cluster"]


def test_links_say_what_the_program_makes() -> None:
    links = report(de=DE, mn=MN).links
    assert len(links) == 2
    for link in links:
        made = egress_policy(link.target, link.destination_cidrs)
        assert made["metadata"]["name"] == link.egress_policy
        assert made["spec"]["destinationCIDRs"] == [str(network) for network in link.destination_cidrs]
        assert link.netbird_policies == policies(link.source, link.target, cluster_ips=True)


def test_mtu_layers() -> None:
    changes = {"netbird": {"underlay_mtu": 1380}}
    found = report(de=changed(DE, changes), mn=changed(MN, changes))
    assert [(layer.name, layer.mtu) for layer in found.clusters[0].layers] == [
        ("underlay", 1380),
        ("WireGuard", 1320),
        ("NetBird", 1320),
        ("egress", 1310),
        ("VXLAN", 1360),
        ("pod", 1310),
    ]
    assert [link.mtu for link in found.links] == [1310, 1310]


def test_a_cluster_alone_has_no_link() -> None:
    assert report(de=changed(DE, {"peers": []})).links == ()


def test_every_direction_of_three_clusters() -> None:
    third = changed(
        DE,
        {
            "network.pod_cidr": "10.44.0.0/16",
            "network.service_cidr": "10.45.0.0/16",
            "hetzner.network_cidr": "10.1.0.0/16",
            "network.node_cidr": "10.1.1.0/24",
            "network.dns_zone": "us.internal",
            "peers": ["de", "mn"],
        },
    )
    found = report(de=changed(DE, {"peers": ["mn", "us"]}), mn=changed(MN, {"peers": ["us", "de"]}), us=third)
    assert [(link.source, link.target) for link in found.links] == [
        ("de", "mn"), ("de", "us"), ("mn", "de"), ("mn", "us"), ("us", "de"), ("us", "mn")
    ]  # fmt: skip
