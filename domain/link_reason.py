"""Why NetBird gives a router no route to a peer's pods or services, from what its REST API says. Pure.

Shapes are those of NetBird's API (https://docs.netbird.io/api, 0.77.1): peers, networks, their resources and routers,
policies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from domain.overlay import Policy, router_group
from domain.overlay import policies as wanted_policies

Object = Mapping[str, Any]


def why_no_route(
    *,
    cluster: str,
    peer: str,
    destinations: Sequence[IPv4Network],
    own: Mapping[str, str],
    peer_routers: Sequence[IPv4Address],
    peers: Sequence[Object],
    networks: Sequence[Object],
    resources: Mapping[str, Sequence[Object]],
    routers: Mapping[str, Sequence[Object]],
    policies: Sequence[Object],
) -> str:
    """The first thing that is wrong on the way, from these routers to the peer's ranges, and what puts it right.

    ``destinations`` are the peer's pods and, where the link carries them, its services. ``resources`` and ``routers``
    are by the network's id; ``own`` are the routers of this cluster that have no route, node -> NetBird address.
    """
    by_address = {str(netbird_peer.get("ip")): netbird_peer for netbird_peer in peers}
    heal = f"`pulumi up -s {peer} --refresh`"
    for node, address in own.items():
        if address not in by_address:
            return (
                f"NetBird has no peer {address}, the router {node} of {cluster}: it is not enrolled, or anew with "
                f"another address; `pulumi up -s {cluster} --refresh`, or look at the logs of its pod (kubectl -n "
                "netbird logs -l app.kubernetes.io/name=networkrouter --prefix)"
            )
        if not by_address[address].get("connected"):
            return (
                f"NetBird says that {by_address[address].get('name')} ({address}), the router {node} of {cluster}, is "
                "not connected; look at the logs of its pod"
            )
    there = [by_address[str(address)] for address in peer_routers if str(address) in by_address]
    if not there:
        addresses = ", ".join(str(address) for address in peer_routers)
        return (
            f"NetBird has no peer with the address of the routers of {peer} ({addresses}): raised anew, or in another "
            f"account; `pulumi up -s {peer}`, then this stack again"
        )
    if not any(router.get("connected") for router in there):
        return f"the routers of {peer} are not connected to NetBird; it is down, or its way to the internet is"
    of_ranges = [wanted for wanted in wanted_policies(cluster, peer, cluster_ips=True) if wanted.protocol == "all"]
    for destination, policy in zip(destinations, of_ranges, strict=False):
        if fault := _range_fault(cluster, heal, destination, policy, networks, resources, routers, policies):
            return fault
    return (
        "in NetBird everything is as it should be, so look at what the agent on "
        f"{', '.join(own) or 'the router'} says: `kubectl -n netbird get pods -o wide`, then `kubectl -n netbird exec "
        "POD -c netbird -- netbird status --detail`"
    )


def _range_fault(
    cluster: str,
    heal: str,
    destination: IPv4Network,
    policy: Policy,
    networks: Sequence[Object],
    resources: Mapping[str, Sequence[Object]],
    routers: Mapping[str, Sequence[Object]],
    policies: Sequence[Object],
) -> str:
    """What is wrong with the range's resource or policy, and what puts it right; empty when nothing is."""
    found = [
        (network, resource)
        for network in networks
        for resource in resources.get(network["id"]) or []
        if resource.get("address") == str(destination)
    ]
    if not found:
        return f"no network in NetBird has a resource {destination}; {heal}"
    offered = [(network, resource) for network, resource in found if _has_router(routers.get(network["id"]) or [])]
    if not offered:
        network = found[0][0]
        return (
            f"NetBird's network {network.get('name')} ({network['id']}) with the resource {destination} has no router "
            f"that is enabled; {heal}"
        )
    if not any(resource.get("enabled", True) for _, resource in offered):
        return f"the resource {destination} in NetBird is disabled; {heal}"
    same = [candidate for candidate in policies if candidate.get("name") == policy.name]
    if not same:
        return f"NetBird has no policy {policy.name}; `pulumi up -s {cluster} --refresh`"
    rules = [rule for candidate in same if candidate.get("enabled", True) for rule in candidate.get("rules") or []]
    if not any(rule.get("enabled", True) for rule in rules):
        return f"NetBird's policy {policy.name} is disabled; `pulumi up -s {cluster} --refresh`"
    sources = {group.get("name") for rule in rules for group in rule.get("sources") or []}
    if router_group(cluster) not in sources:
        begins = router_group(cluster)
        return f"NetBird's policy {policy.name} does not begin at {begins}; `pulumi up -s {cluster} --refresh`"
    return ""


def _has_router(routers: Sequence[Object]) -> bool:
    return any(router.get("enabled", True) for router in routers)
