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
        rules=None if looked["rules"] is None else frozenset(int(one["priority"]) for one in looked["rules"]),
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
        out={name: one.get("out") for name, one in peers.items()},
        over={name: dict(one.get("over") or {}) for name, one in peers.items()},
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
        IPv4Network(one["dst"]) for one in found if one.get("dev") == NETBIRD_INTERFACE and one["dst"] != "default"
    )


def firewall(seen: Json | None) -> FirewallFacts | None:
    """What NetBird's part of the packet filter does."""
    if seen is None:
        return None
    others = [
        DropFacts(
            rule=one["rule"],
            chain=one["chain"],
            forward=bool({"forward", *_EVERYTHING} & set(one["hooks"])),
            node=bool({"input", "output", *_EVERYTHING} & set(one["hooks"])),
        )
        for one in seen["others"]
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
            source=str(one.get("SourceIP", "")),
            destination=str(one.get("DestCIDR", "")),
            egress_ip=str(one.get("EgressIP", "")),
            gateway_ip=str(one.get("GatewayIP", "")),
        )
        for one in entries or ()
    )


def destinations(policies: Iterable[Json]) -> frozenset[str]:
    """Where the egress policies lead."""
    return frozenset(str(cidr) for one in policies for cidr in one.get("spec", {}).get("destinationCIDRs", []))


def netbird(
    *,
    policies: Iterable[Json],
    groups: Iterable[Json],
    networks: Iterable[tuple[Sequence[Json], Sequence[Json]]],
) -> NetBirdFacts:
    """NetBird's objects; ``networks`` are the resources and the routing peers of each."""
    sizes = {str(one["id"]): int(one.get("peers_count") or 0) for one in groups}
    found = [_policy(one) for one in policies]
    resources = []
    for of_network, routing in networks:
        routers = tuple(
            RoutingFacts(
                enabled=bool(one.get("enabled")),
                masquerade=bool(one.get("masquerade")),
                peers=int(bool(one.get("peer")))
                + sum(sizes.get(str(group), 0) for group in one.get("peer_groups") or ()),
            )
            for one in routing
        )
        resources += [
            ResourceFacts(
                address=str(one.get("address", "")),
                enabled=bool(one.get("enabled")),
                groups=frozenset(str(group["name"]) for group in one.get("groups") or ()),
                routers=routers,
            )
            for one in of_network
        ]
    return NetBirdFacts(answers=True, policies={one.name: one for one in found}, resources=tuple(resources))


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
                    *(f"{one['start']}-{one['end']}" for one in rule.get("port_ranges") or ()),
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
    groups = {str(one["name"]) for one in rule.get(name) or ()}
    if one := rule.get(resource):
        groups.add(f"{one.get('type', 'resource')} {one.get('id')}")
    return frozenset(groups)


def addresses(nodes: Iterable[Json]) -> dict[str, str]:
    """Each node's InternalIP."""
    return {str(one["metadata"]["name"]): internal_ip(one) for one in nodes}
