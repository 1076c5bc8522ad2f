"""Which faults the facts of a direction show, and which lost probes each of them can explain. Pure.

Packets go from the source's pods to its router, through wt0 to the target's router and to the pods there; replies come
back the same way. So both routers count in each direction, but not in the same way: rules and routes lead out, the
masquerade is needed where they come in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from domain.names import RELAY_PORT, ROUTER_LABEL, ROUTER_LABEL_VALUE
from domain.overlay import NETBIRD_INTERFACE
from lab.status.facts import ClusterFacts, LinkFacts, NodeFacts, RouterFacts
from lab.status.finding import ANYWHERE, NOWHERE, OTHER, Finding, at, parameters_of
from lab.status.netbird_findings import netbird_findings, tunnel_findings

RULES: Final = frozenset({105, 110})
"""Priorities of NetBird's ip rules: the main table without its default route first, then NetBird's own table."""
ROUTE_TABLE: Final = 7120
GUARDED_PORTS: Final = (22, 10250)
"""Ports of a node that the peer must not reach: sshd's and the kubelet's."""


def findings_of(facts: LinkFacts) -> Iterator[Finding]:
    """Every fault that the facts of a direction show."""
    source, target = facts.source, facts.target
    leading = _leading(facts)
    receiving = _receiving(facts, leading)
    for cluster, carrying in ((source, leading), (target, receiving)):
        yield from _machines(cluster, carrying, is_source=cluster is source)
        for router in cluster.routers:
            if router.machine_running:
                yield from _agent(router, cluster, carries=router.node in carrying)
    yield from netbird_findings(facts)
    yield from tunnel_findings(facts, leading)
    for router in source.routers:
        yield from _way_out(router, facts, carries=router.node in leading)
        yield from _programs(router, source, carries=router.node in leading)
        yield from _forwarding(router, source, carries=router.node in leading)
    for router in target.routers:
        yield from _forwarding(router, target, carries=router.node in receiving)
        yield from _way_in(router, target, carries=router.node in receiving)
    yield from _dropped(facts, leading, receiving)
    yield from _egress(facts)
    yield from _names(facts, leading, receiving)
    for cluster in (source, target):
        for router in cluster.routers:
            yield from _open(router, cluster)
        for node in cluster.nodes:
            yield from _kubelet(node, cluster, is_source=cluster is source)


# --- which routers packets come by ------------------------------------------------------------------------------------


def _leading(facts: LinkFacts) -> frozenset[str]:
    """The nodes of the routers that the source's pods are led to; all of them while nobody says which.

    Cilium's maps say it, which are looked at when something is lost, and else the keepers.
    """
    source = facts.source
    gateways = {entry.gateway_ip for entries in (source.egress or {}).values() for entry in entries}
    chosen = frozenset(router.node for router in source.routers if router.node_ip in gateways)
    if not gateways:
        named = {router.keeper.out.get(facts.target.name) for router in source.routers if router.keeper}
        chosen = frozenset(router.node for router in source.routers if router.node in named)
    return chosen or frozenset(router.node for router in source.routers)


def _receiving(facts: LinkFacts, leading: frozenset[str]) -> frozenset[str]:
    """The nodes of the target's routers that the source's routers send to; all of them while nobody says which.

    A keeper reads it from the WireGuard device; what NetBird's agent says of its choice may be another one then.
    """
    told = {
        router.keeper.over.get(facts.target.name, {}).get(str(facts.target.pods))
        for router in facts.source.routers
        if router.node in leading and router.keeper
    }
    if chosen := frozenset(router.node for router in facts.target.routers if router.node in told):
        return chosen
    addresses = {
        address
        for router in facts.source.routers
        if router.node in leading
        for address, peer in (router.peers or {}).items()
        if str(facts.target.pods) in peer.networks
    }
    chosen = frozenset(router.node for router in facts.target.routers if router.address in addresses)
    return chosen or frozenset(router.node for router in facts.target.routers)


# --- machines and agents ----------------------------------------------------------------------------------------------


def _machines(cluster: ClusterFacts, carrying: frozenset[str], *, is_source: bool) -> Iterator[Finding]:
    if cluster.reachable and not cluster.routers:
        yield Finding(
            id="router-missing",
            where=cluster.name,
            observed=f"no node with the label {ROUTER_LABEL}={ROUTER_LABEL_VALUE} and no pod of NetBird's router",
            parameters={"cluster": cluster.name},
        ).of(names=True)
    for node in cluster.nodes:
        if node.machine_running:
            continue
        finding = Finding(
            id="machine-off",
            where=f"{node.name} of {cluster.name}",
            observed="the machine does not run",
            parameters={"node": node.name},
        )
        if node.name in carrying:
            yield finding.of(names=True)
        elif is_source:
            yield replace(finding.of(), source_nodes=frozenset({node.name}))
        else:
            yield replace(finding.of(), target_nodes=frozenset({node.name}))


def _agent(router: RouterFacts, cluster: ClusterFacts, *, carries: bool) -> Iterator[Finding]:
    where, parameters = at(router, cluster), parameters_of(router, cluster)
    if router.agent == "frozen":
        observed = f"NetBird's agent (process {router.agent_pid}) is stopped by a signal"
        yield Finding(id="agent-frozen", where=where, observed=observed, parameters=parameters).of(
            names=True, carries=carries
        )
    elif router.agent == "absent" and not router.pod:
        yield Finding(
            id="router-missing", where=where, observed="no router pod on this node, no agent", parameters=parameters
        ).of(names=True, carries=carries)
    elif router.agent == "absent":
        observed = f"the pod {router.pod} has no process `netbird`"
        yield Finding(id="agent-stopped", where=where, observed=observed, parameters=parameters).of(
            names=True, carries=carries
        )
    if router.interface in ("absent", "down") and router.agent == "running":
        state = "not there" if router.interface == "absent" else "down"
        yield Finding(
            id="interface-away", where=where, observed=f"{NETBIRD_INTERFACE} is {state}", parameters=parameters
        ).of(names=True, carries=carries)
    if router.management is False and router.agent == "running":
        # An agent that has lost its management goes on with what it knows; one that never had it has no peers.
        alone = not any(peer.connected for peer in (router.peers or {}).values())
        yield Finding(
            id="agent-disconnected",
            where=where,
            observed="the agent says that it is not connected to NetBird's management",
            parameters=parameters,
        ).of(names=True, carries=carries and alone)


# --- what a router has laid out ---------------------------------------------------------------------------------------


def _way_out(router: RouterFacts, facts: LinkFacts, *, carries: bool) -> Iterator[Finding]:
    """Rules and routes: what leads packets of the source's pods into wt0."""
    where, parameters = at(router, facts.source), parameters_of(router, facts.source)
    if router.rules is not None and (missing := RULES - router.rules):
        observed = f"no ip rule with priority {' and none with '.join(map(str, sorted(missing)))}"
        yield Finding(id="rules-missing", where=where, observed=observed, parameters=parameters).of(carries=carries)
    wanted = facts.target.pods
    if (
        router.interface == "up"
        and router.routes is not None
        and not any(wanted.subnet_of(route) for route in router.routes)
    ):
        yield Finding(
            id="route-missing",
            where=where,
            observed=f"table {ROUTE_TABLE} has no route to {wanted} by {NETBIRD_INTERFACE}",
            parameters=parameters,
        ).of(carries=carries)


def _programs(router: RouterFacts, cluster: ClusterFacts, *, carries: bool) -> Iterator[Finding]:
    """What leads pods' packets on a router to wt0, and gives them its address."""
    if router.interface != "up" or router.programs is not False:
        return
    agent = {"absent": "does not run", "frozen": "is stopped by a signal"}.get(router.cilium or "", "runs")
    yield Finding(
        id="programs-missing",
        where=at(router, cluster),
        observed=f"{NETBIRD_INTERFACE} has none of Cilium's programs, or only some; Cilium's agent {agent}",
        parameters=parameters_of(router, cluster),
    ).of(carries=carries)


def _forwarding(router: RouterFacts, cluster: ClusterFacts, *, carries: bool) -> Iterator[Finding]:
    where, parameters = at(router, cluster), parameters_of(router, cluster)
    if router.forwarding is False:
        yield Finding(id="forwarding-off", where=where, observed="net.ipv4.ip_forward is 0", parameters=parameters).of(
            carries=carries
        )
    if router.rp_filter == 1:
        yield Finding(
            id="reverse-path-filter",
            where=where,
            observed=f"rp_filter of {NETBIRD_INTERFACE} is 1",
            parameters=parameters,
        ).of(carries=carries)


def _way_in(router: RouterFacts, cluster: ClusterFacts, *, carries: bool) -> Iterator[Finding]:
    """The masquerade: without it replies of pods on other nodes leave by those nodes' own way."""
    if router.firewall is not None and not router.firewall.masquerade and router.interface == "up":
        yield Finding(
            id="masquerade-missing",
            where=at(router, cluster),
            observed="the packet filter has no masquerade of NetBird",
            parameters=parameters_of(router, cluster),
        ).of(targets=OTHER, carries=carries)


def _dropped(facts: LinkFacts, leading: frozenset[str], receiving: frozenset[str]) -> Iterator[Finding]:
    """Rules of others at either end: an answer that does not come in is lost as a question is."""
    for cluster, other, carrying in ((facts.source, facts.target, leading), (facts.target, facts.source, receiving)):
        addresses = ", ".join(router.address for router in other.routers if router.address) or "its NetBird address"
        for router in cluster.routers:
            for drop in () if router.firewall is None else router.firewall.others:
                lost = ["packets of pods"] * drop.forward
                lost += [f"questions and answers of the DNS relays (port {RELAY_PORT})"] * drop.node
                yield Finding(
                    id="peers-dropped",
                    where=at(router, cluster),
                    observed=f"`{drop.rule}` in the chain {drop.chain} drops {' and '.join(lost)} that "
                    f"come by {NETBIRD_INTERFACE} from the router of {other.name} or go there ({addresses})",
                    parameters={**parameters_of(router, cluster), "chain": drop.chain},
                    sources=ANYWHERE if drop.forward and router.node in carrying else NOWHERE,
                    targets=ANYWHERE if drop.forward and router.node in carrying else NOWHERE,
                    names=router.node in carrying,
                )


def _open(router: RouterFacts, cluster: ClusterFacts) -> Iterator[Finding]:
    """What must be shut and is not, whether packets pass or not."""
    where, parameters = at(router, cluster), parameters_of(router, cluster)
    if router.open_ports:
        observed = f"answered a peer's router over {NETBIRD_INTERFACE}: {', '.join(map(str, router.open_ports))}"
        yield Finding(id="ports-open", where=where, observed=observed, parameters=parameters)
    if router.firewall is not None and router.interface == "up":
        gone = [
            text
            for there, text in (
                (router.firewall.forward, f"what is forwarded from {NETBIRD_INTERFACE}"),
                (router.firewall.input, f"what the node gets from {NETBIRD_INTERFACE}"),
            )
            if not there
        ]
        if gone:
            observed = f"no chain of NetBird judges {' or '.join(gone)}"
            yield Finding(id="guard-missing", where=where, observed=observed, parameters=parameters)


# --- Cilium -----------------------------------------------------------------------------------------------------------


def _egress(facts: LinkFacts) -> Iterator[Finding]:
    source, wanted = facts.source, str(facts.target.pods)
    if source.policies is None:
        return
    if wanted not in source.policies:
        yield Finding(
            id="egress-policy-missing",
            where=source.name,
            observed=f"no CiliumEgressGatewayPolicy leads to {wanted}; there are: "
            f"{', '.join(sorted(source.policies)) or 'none'}",
            parameters={"cluster": source.name},
        ).of()
        return
    routers = {router.node_ip: router for router in source.routers}
    for node, entries in sorted((source.egress or {}).items()):
        leading = [entry for entry in entries if entry.destination == wanted]
        parameters: dict[str, object] = {"cluster": source.name, "node": node}
        where = f"{node} of {source.name}"
        if not leading:
            finding = Finding(
                id="egress-entries-missing",
                where=where,
                observed=f"Cilium's egress map has nothing for {wanted}",
                parameters=parameters,
            ).of()
            yield (
                finding
                if node in {router.node for router in source.routers}
                else replace(finding, source_nodes=frozenset({node}))
            )
            continue
        gateways = {entry.gateway_ip for entry in leading}
        if unknown := sorted(gateways - set(routers)):
            observed = f"Cilium's egress map leads to {', '.join(unknown)}, which is no router's address"
            yield Finding(id="egress-gateway-missing", where=where, observed=observed, parameters=parameters).of()
        own = next((router for router in source.routers if router.node == node), None)
        if own is not None and own.node_ip in gateways and own.address:
            stale = sorted({entry.egress_ip for entry in leading if entry.gateway_ip == own.node_ip} - {own.address})
            if stale:
                observed = f"sends from {', '.join(stale)}, {NETBIRD_INTERFACE} has {own.address}"
                yield Finding(id="egress-address-stale", where=where, observed=observed, parameters=parameters).of()


# --- names ------------------------------------------------------------------------------------------------------------


def _names(facts: LinkFacts, leading: frozenset[str], receiving: frozenset[str]) -> Iterator[Finding]:
    source, target = facts.source, facts.target
    for cluster in (source, target):
        if cluster.dns_pods == 0:
            yield Finding(
                id="cluster-dns-away",
                where=cluster.name,
                observed="no pod of the cluster's DNS serves names",
                parameters={"cluster": cluster.name},
                names=True,
            )
    for cluster, zone in ((source, target.dns_zone), (target, target.dns_zone)):
        if cluster.zones is not None and zone not in cluster.zones:
            there = ", ".join(sorted(cluster.zones)) or "none"
            observed = f"{zone} is not among the zones of the ConfigMap: {there}"
            parameters = {"cluster": cluster.name}
            yield Finding(id="zone-missing", where=cluster.name, observed=observed, parameters=parameters, names=True)
    for router in source.routers:
        yield from _relay(router, source, listens=router.relay_on_node, on_wt0=False, carries=router.node in leading)
    for router in target.routers:
        yield from _relay(router, target, listens=router.relay_on_wt0, on_wt0=True, carries=router.node in receiving)


def _relay(
    router: RouterFacts, cluster: ClusterFacts, *, listens: bool | None, on_wt0: bool, carries: bool
) -> Iterator[Finding]:
    where, parameters = at(router, cluster), parameters_of(router, cluster)
    if router.relay == "frozen":
        observed = "the relay's process is stopped by a signal"
        yield Finding(id="relay-frozen", where=where, observed=observed, parameters=parameters, names=carries)
    elif router.relay == "absent":
        observed = f"nothing listens on port {RELAY_PORT}"
        yield Finding(id="relay-away", where=where, observed=observed, parameters=parameters, names=carries)
    elif listens is False:
        place = f"{NETBIRD_INTERFACE} ({router.address})" if on_wt0 else f"the node's address {router.node_ip}"
        observed = f"the relay runs and does not listen on {place}"
        identifier = "relay-not-on-wt0" if on_wt0 else "relay-away"
        yield Finding(id=identifier, where=where, observed=observed, parameters=parameters, names=carries)


# --- nodes ------------------------------------------------------------------------------------------------------------


_AWAY: Final = {"absent": "away", "frozen": "frozen"}


def _kubelet(node: NodeFacts, cluster: ClusterFacts, *, is_source: bool) -> Iterator[Finding]:
    where = f"{node.name} of {cluster.name}"
    parameters: dict[str, object] = {"cluster": cluster.name, "node": node.name, "unit": node.unit}
    parameters["pid"] = node.kubelet_pid or "PID"
    if not node.machine_running:
        return
    ready = {True: "ready", False: "not ready", None: "unknown"}[node.ready]
    silent = _silent_services(node, cluster, is_source=is_source)
    behind = f"; {' and '.join(silent)} run there and count as not ready" if silent else ""
    if node.kubelet in ("absent", "frozen"):
        state = "does not run" if node.kubelet == "absent" else "is stopped by a signal"
        observed = f"the kubelet {state}; the API says of the node: {ready}{behind}"
        identifier = f"kubelet-{_AWAY[node.kubelet]}"
    elif node.ready is False:
        observed, identifier = f"the kubelet runs; the node is not ready{behind}", "node-not-ready"
    else:
        return
    yield Finding(id=identifier, where=where, observed=observed, parameters=parameters, names=bool(silent))


def _silent_services(node: NodeFacts, cluster: ClusterFacts, *, is_source: bool) -> list[str]:
    """What serves names only from nodes that are not ready, this one among them: its Service leads nowhere, although
    its pods run.
    """
    away = {other.name for other in cluster.nodes if other.ready is False}
    relays = {router.node for router in cluster.routers} if is_source else set()
    nodes = (("all pods of the cluster's DNS", cluster.dns_nodes), ("all DNS relays", relays))
    return [what for what, used in nodes if node.name in away and node.name in used and used <= away]
