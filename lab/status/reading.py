"""From what machines, clusters and NetBird's API answer to facts. Pure: the shapes of others are known here only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any, Final

from domain.overlay import NETBIRD_INTERFACE
from lab.kubernetes import internal_ip, is_ready
from lab.status.facts import (
    DropFacts,
    EgressEntry,
    FirewallFacts,
    NetBirdFacts,
    NodeFacts,
    PeerFacts,
    PolicyFacts,
    Process,
    ResourceFacts,
    RouterFacts,
    RoutingFacts,
    RuleFacts,
)
from lab.status.results import KeeperStatus

Json = Mapping[str, Any]
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"


def process(found: Json | None) -> Process:
    """The state of a process that was looked for."""
    if found is None:
        return "absent"
    return "frozen" if found["frozen"] else "running"


def router(
    *, node: str, node_ip: str, pod: str, machine_running: bool, looked: Json | None, open_ports: tuple[int, ...] | None
) -> RouterFacts:
    """A router from what its node was seen to have; ``looked`` is None when it could not be looked at."""
    plain = RouterFacts(node=node, node_ip=node_ip, pod=pod, machine_running=machine_running, open_ports=open_ports)
    if looked is None:
        return plain
    status: Json | None = looked["status"]
    wt0: Json | None = looked["wt0"]
    address = str((wt0 or {}).get("address") or str((status or {}).get("netbirdIp", "")).partition("/")[0])
    filters = [number for number in looked["rp_filter"] if number is not None]
    listens = set(looked["relay_listens"])
    has_relay = looked["relay"] is not None
    return RouterFacts(
        node=node,
        node_ip=node_ip,
        pod=pod,
        machine_running=machine_running,
        open_ports=open_ports,
        agent=process(looked["agent"]),
        agent_pid=(looked["agent"] or {}).get("pid"),
        interface="absent" if wt0 is None else "up" if wt0["up"] and wt0["address"] else "down",
        programs=None if looked.get("programs") is None else all(looked["programs"]),
        cilium=process(looked.get("cilium")),
        address=address,
        management=None if status is None else bool(status.get("management", {}).get("connected")),
        peers=None if status is None else peers(status),
        rules=None if looked["rules"] is None else frozenset(int(rule["priority"]) for rule in looked["rules"]),
        routes=routes(looked["routes"]),
        forwarding=None if looked["forwarding"] is None else looked["forwarding"] != 0,
        # The kernel takes the larger one of both.
        rp_filter=max(filters) if filters else None,
        firewall=firewall(looked["firewall"]),
        relay=process(looked["relay"]),
        relay_on_node=bool({node_ip, "*"} & listens) if has_relay else None,
        relay_on_wt0=bool({address, "*"} & listens) if has_relay and address else None,
        keeper=keeper(looked.get("keeper")),
    )


def keeper(told: Json | None) -> KeeperStatus | None:
    """The keeper's /status; what a keeper of another version does not tell is empty."""
    if told is None:
        return None
    peers: Json = told.get("peers") or {}
    return KeeperStatus(
        ok=bool(told.get("ok")),
        reasons=tuple(map(str, told.get("reasons") or ())),
        draining=bool(told.get("draining")),
        out={name: peer.get("out") for name, peer in peers.items()},
        over={name: dict(peer.get("over") or {}) for name, peer in peers.items()},
        mended=dict(told.get("mended") or {}),
    )


def peers(status: Json) -> dict[str, PeerFacts]:
    """The other routers in `netbird status --json`, by address."""
    found = {}
    for peer in status.get("peers", {}).get("details") or []:
        found[str(peer.get("netbirdIp", "")).partition("/")[0]] = PeerFacts(
            connected=str(peer.get("status", "")).lower() == "connected",
            relayed=str(peer.get("connectionType", "")).upper() != "P2P",
            networks=tuple(peer.get("networks") or ()),
        )
    return found


def routes(found: Sequence[Json] | None) -> tuple[IPv4Network, ...] | None:
    """The destinations that a table leads to wt0."""
    if found is None:
        return None
    return tuple(
        IPv4Network(route["dst"])
        for route in found
        if route.get("dev") == NETBIRD_INTERFACE and route["dst"] != "default"
    )


def firewall(seen: Json | None) -> FirewallFacts | None:
    """What NetBird's part of the packet filter does."""
    if seen is None:
        return None
    others = [
        DropFacts(
            rule=drop["rule"],
            chain=drop["chain"],
            forward=bool({"forward", *_EVERYTHING} & set(drop["hooks"])),
            node=bool({"input", "output", *_EVERYTHING} & set(drop["hooks"])),
        )
        for drop in seen["others"]
    ]
    return FirewallFacts(
        masquerade=seen["masquerades"],
        forward="forward" in seen["drops"],
        input="input" in seen["drops"],
        others=tuple(others),
    )


_EVERYTHING: Final = frozenset({"ingress", "prerouting", "postrouting"})
"""Hooks that see what the node itself gets or sends and what it forwards."""


def node(found: Json, *, router: bool, machine_running: bool, looked: Json | None) -> NodeFacts:
    """A node by its object and by what its machine has."""
    labels = found["metadata"].get("labels", {})
    kubelet = None if looked is None else looked["kubelet"]
    return NodeFacts(
        name=found["metadata"]["name"],
        router=router,
        ready=is_ready(found),
        machine_running=machine_running,
        unit="k3s.service" if CONTROL_PLANE in labels else "k3s-agent.service",
        kubelet=None if looked is None else process(kubelet),
        kubelet_pid=(kubelet or {}).get("pid"),
    )


def egress(entries: Iterable[Json] | None) -> tuple[EgressEntry, ...]:
    """The lines of `cilium-dbg bpf egress list --output=json`."""
    return tuple(
        EgressEntry(
            source=str(entry.get("SourceIP", "")),
            destination=str(entry.get("DestCIDR", "")),
            egress_ip=str(entry.get("EgressIP", "")),
            gateway_ip=str(entry.get("GatewayIP", "")),
        )
        for entry in entries or ()
    )


def destinations(policies: Iterable[Json]) -> frozenset[str]:
    """Where the egress policies lead."""
    return frozenset(str(cidr) for policy in policies for cidr in policy.get("spec", {}).get("destinationCIDRs", []))


def netbird(
    *,
    policies: Iterable[Json],
    groups: Iterable[Json],
    networks: Iterable[tuple[Sequence[Json], Sequence[Json]]],
) -> NetBirdFacts:
    """NetBird's objects; ``networks`` are the resources and the routing peers of each."""
    sizes = {str(group["id"]): int(group.get("peers_count") or 0) for group in groups}
    found = [_policy(policy) for policy in policies]
    resources = []
    for of_network, routing in networks:
        routers = tuple(
            RoutingFacts(
                enabled=bool(peer.get("enabled")),
                masquerade=bool(peer.get("masquerade")),
                peers=int(bool(peer.get("peer")))
                + sum(sizes.get(str(group), 0) for group in peer.get("peer_groups") or ()),
            )
            for peer in routing
        )
        resources += [
            ResourceFacts(
                address=str(resource.get("address", "")),
                enabled=bool(resource.get("enabled")),
                groups=frozenset(str(group["name"]) for group in resource.get("groups") or ()),
                routers=routers,
            )
            for resource in of_network
        ]
    return NetBirdFacts(answers=True, policies={policy.name: policy for policy in found}, resources=tuple(resources))


def _policy(found: Json) -> PolicyFacts:
    return PolicyFacts(
        name=str(found["name"]),
        enabled=bool(found.get("enabled")),
        rules=tuple(
            RuleFacts(
                enabled=bool(rule.get("enabled")),
                accepts=rule.get("action") == "accept",
                protocol=str(rule.get("protocol", "all")),
                ports=(
                    *map(str, rule.get("ports") or ()),
                    *(f"{port_range['start']}-{port_range['end']}" for port_range in rule.get("port_ranges") or ()),
                ),
                bidirectional=bool(rule.get("bidirectional")),
                sources=_groups(rule, "sources", "sourceResource"),
                destinations=_groups(rule, "destinations", "destinationResource"),
            )
            for rule in found.get("rules") or ()
        ),
    )


def _groups(rule: Json, name: str, resource: str) -> frozenset[str]:
    """The names of a side's groups; a single resource or peer in their place is shown by its id."""
    groups = {str(group["name"]) for group in rule.get(name) or ()}
    if single := rule.get(resource):
        groups.add(f"{single.get('type', 'resource')} {single.get('id')}")
    return frozenset(groups)


def addresses(nodes: Iterable[Json]) -> dict[str, str]:
    """Each node's InternalIP."""
    return {str(item["metadata"]["name"]): internal_ip(item) for item in nodes}
