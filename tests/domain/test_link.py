from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.link import (
    Link,
    LinkError,
    Offers,
    RouterLink,
    overlaps_of,
    parse_link,
    parse_offers,
    readable,
    with_cluster_ips,
)
from domain.version import VERSION
from tests.domain.samples import REMOVE, link_of_mn

LINK = link_of_mn("100.92.0.7")
PARSED = Link(
    cluster="mn",
    pod_cidr=IPv4Network("10.52.0.0/16"),
    service_cidr=IPv4Network("10.53.0.0/16"),
    dns_zone="astring-mn.internal",
    node_ips=(IPv4Address("192.168.7.11"), IPv4Address("192.168.7.12")),
    routers=(RouterLink(node="mn-2", node_ip=IPv4Address("192.168.7.12"), peer_ip=IPv4Address("100.92.0.7")),),
)


def test_round_trip() -> None:
    assert parse_link(LINK, "mn") == PARSED
    assert PARSED.output() == LINK
    assert PARSED.router_addresses == (IPv4Address("100.92.0.7"),)


AGAIN = "; run `pulumi up -s mn` to write it anew."


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"pod_cidr": "10.52.0.1/16"},
            "pod_cidr 10.52.0.1/16 has host bits set; a CIDR names the network itself" + AGAIN,
        ),
        ({"pod_cidr": "fd00::/56"}, "pod_cidr fd00::/56 is IPv6; clusters and links are IPv4 only" + AGAIN),
        ({"node_ips": ["mn-1"]}, "node_ips.0 mn-1 is not an IPv4 address" + AGAIN),
        ({"node_ips": 5}, "node_ips 5 is wrong (input should be a valid tuple)" + AGAIN),
        ({"dns_zone": REMOVE}, "dns_zone is missing" + AGAIN),
        (
            {"routers": []},
            "routers is empty" + AGAIN,
        ),
        (
            {"routers": [{"node": "mn-2", "node_ip": "192.168.7.12", "peer_ip": "192.168.7.12"}]},
            "routers.0.peer_ip 192.168.7.12 is not in NetBird's range 100.64.0.0/10" + AGAIN,
        ),
        ({"cluster": "us"}, "cluster us is not the stack that was asked" + AGAIN),
        (
            {"pod_cidr": "x", "service_cidr": 1},
            "pod_cidr x is not an IPv4 network with a prefix length; "
            "service_cidr 1 is not text; an IPv4 network is expected" + AGAIN,
        ),
        (
            {"schema_version": 3},
            (
                f"schema_version 3 is too new, Isthmus {VERSION} reads 1, 2; take the version of the program that "
                "raised mn."
            ),
        ),
        (
            {"schema_version": 0.0},
            (
                f"schema_version 0 is too old, Isthmus {VERSION} reads 1, 2; raise both stacks with a version in "
                "between first."
            ),
        ),
        ({"schema_version": 1.5}, "schema_version 1.5 is no whole number" + AGAIN),
        ({"schema_version": True}, "schema_version true is no whole number" + AGAIN),
        ({"schema_version": REMOVE}, "schema_version (empty) is no whole number" + AGAIN),
    ],
)
def test_bad(changes: dict[str, Any], says: str) -> None:
    value = {name: field for name, field in {**LINK, **changes}.items() if field is not REMOVE}
    with pytest.raises(LinkError) as raised:
        parse_link(value, "mn")
    assert str(raised.value) == f"link of mn: {says}"


def test_a_reader_takes_the_version_before_its_own_and_the_one_after() -> None:
    assert {own: list(readable(own)) for own in (1, 2, 7)} == {1: [1, 2], 2: [1, 2, 3], 7: [6, 7, 8]}


@pytest.mark.parametrize("version", [2, 2.0])
def test_a_newer_version_is_read_without_what_is_new_in_it(version: float) -> None:
    routers = [{**LINK["routers"][0], "priority": 3}]
    newer = {**LINK, "schema_version": version, "routers": routers, "ipv6": {"pods": "fd00::/56"}}
    assert parse_link(newer, "mn") == PARSED.model_copy(update={"schema_version": 2})


@pytest.mark.parametrize("value", [None, "", [], 5])
def test_no_object(value: object) -> None:
    with pytest.raises(
        LinkError, match=r"^link of mn: is .*, not an object; run `pulumi up -s mn` with this version\.$"
    ):
        parse_link(value, "mn")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*LINK, "node"]), inner, max_size=4)
        ),
        max_leaves=6,
    )
)
def test_anything(value: object) -> None:
    with pytest.raises(LinkError):
        parse_link(value, "mn")


def test_overlaps() -> None:
    own = {"network.pod_cidr": IPv4Network("10.52.128.0/17"), "network.service_cidr": IPv4Network("10.43.0.0/16")}
    assert overlaps_of(PARSED, own) == ["mn: pod_cidr 10.52.0.0/16 overlaps network.pod_cidr 10.52.128.0/17"]
    assert overlaps_of(PARSED, {"network.pod_cidr": IPv4Network("10.42.0.0/16")}) == []


PODS, SERVICES = IPv4Network("10.52.0.0/16"), IPv4Network("10.53.0.0/16")


def test_cluster_ips_are_carried_where_one_offers_and_the_other_takes_them() -> None:
    link, without = with_cluster_ips(PARSED, Offers(cluster_ips=True), taken=True)
    assert (link.destinations, without) == ((PODS, SERVICES), "")
    assert link.output() == LINK, "a reader's own knowledge never goes into the output"


@pytest.mark.parametrize(
    ("offers", "taken", "says"),
    [
        (Offers(cluster_ips=True), False, "without ClusterIPs: link.cluster_ips is false here"),
        (Offers(cluster_ips=False), True, "without ClusterIPs: link.cluster_ips is false at mn"),
        (
            None,
            True,
            "without ClusterIPs: mn was raised by an earlier program; `pulumi up -s mn` with this one",
        ),
    ],
)
def test_else_the_link_carries_pods_and_says_why(offers: Offers | None, taken: bool, says: str) -> None:
    link, without = with_cluster_ips(PARSED, offers, taken=taken)
    assert (link.destinations, without) == ((PODS,), says)


def test_a_link_output_says_nothing_of_what_its_reader_takes() -> None:
    assert parse_link({**LINK, "cluster_ips": True}, "mn") == PARSED


def test_offers() -> None:
    assert parse_offers(None, "mn") is None
    assert parse_offers({}, "mn") == Offers(cluster_ips=False)
    assert parse_offers({"cluster_ips": True, "of a later version": 1}, "mn") == Offers(cluster_ips=True)
    assert Offers(cluster_ips=True).output() == {"cluster_ips": True}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("x", "offers of mn: is x, not an object" + AGAIN),
        (
            {"cluster_ips": "perhaps"},
            "offers of mn: cluster_ips perhaps is wrong (input should be a valid boolean, unable to interpret input)"
            + AGAIN,
        ),
    ],
)  # fmt: skip
def test_offers_that_are_none(value: object, says: str) -> None:
    with pytest.raises(LinkError) as refusal:
        parse_offers(value, "mn")
    assert str(refusal.value) == says
