"""Faults in what NetBird has for a direction: policies, the resource of the target's pods, the tunnel. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from domain import overlay
from lab.status.facts import LinkFacts
from lab.status.finding import OTHER, Finding, at, parameters_of
from lab.status.policies import policy_faults


def netbird_findings(facts: LinkFacts) -> Iterator[Finding]:
    """What NetBird's management has for the direction, against what the program makes."""
    if not facts.netbird.answers:
        yield Finding(id="management-away", where="NetBird", observed="its API does not answer")
        return
    source, target = facts.source, facts.target
    owner = {"owner": source.name}
    for fault in policy_faults(facts.netbird.policies, source.name, target.name, cluster_ips=facts.cluster_ips):
        finding = Finding(id=fault.id, where=f"NetBird, {fault.policy}", observed=fault.observed, parameters=owner)
        # No probe asks for a service, so what concerns them alone explains none that was lost.
        if fault.id == "policy-widened" or fault.carries == "services":
            yield finding
        elif fault.carries == "pods":
            yield finding.of()
        else:
            yield replace(finding, names=True)
    yield from _resource(facts)
    if facts.cluster_ips:
        yield from _services(facts)


def _resource(facts: LinkFacts) -> Iterator[Finding]:
    target = facts.target
    where, parameters = f"NetBird, pods of {target.name}", {"owner": target.name, "cluster": target.name}
    found = [resource for resource in facts.netbird.resources if resource.address == str(target.pods)]
    if not found:
        observed = f"no network has a resource {target.pods}"
        yield Finding(id="resource-missing", where=where, observed=observed, parameters=parameters).of()
        return
    enabled = [resource for resource in found if resource.enabled]
    if not enabled:
        observed = f"the resource {target.pods} is disabled"
        yield Finding(id="resource-disabled", where=where, observed=observed, parameters=parameters).of()
        return
    group = overlay.pods_group(target.name)
    if not any(group in resource.groups for resource in enabled):
        groups = ", ".join(sorted({name for resource in enabled for name in resource.groups})) or "none"
        observed = f"the resource {target.pods} is not in the group {group}, its groups: {groups}"
        yield Finding(id="resource-missing", where=where, observed=observed, parameters=parameters).of()
    routing = [peer for resource in enabled for peer in resource.routers if peer.enabled and peer.peers]
    if not routing:
        observed = f"the network of {target.pods} has no routing peer that is enabled and stands for a router"
        yield Finding(id="routing-peer-missing", where=where, observed=observed, parameters=parameters).of()
    elif not any(peer.masquerade for peer in routing):
        observed = "its routing peers don't masquerade"
        yield Finding(id="masquerade-off", where=where, observed=observed, parameters=parameters).of(targets=OTHER)


def _services(facts: LinkFacts) -> Iterator[Finding]:
    target, group = facts.target, overlay.services_group(facts.target.name)
    found = [resource for resource in facts.netbird.resources if resource.address == str(target.services)]
    where, parameters = f"NetBird, services of {target.name}", {"owner": target.name, "cluster": target.name}
    if not any(group in resource.groups for resource in found):
        observed = f"no network has a resource {target.services} in the group {group}"
        yield Finding(id="resource-missing", where=where, observed=observed, parameters=parameters)
    elif not any(resource.enabled for resource in found):
        observed = f"the resource {target.services} is disabled"
        yield Finding(id="resource-disabled", where=where, observed=observed, parameters=parameters)


def tunnel_findings(facts: LinkFacts, leading: frozenset[str]) -> Iterator[Finding]:
    """What the source's agents say of the target's routers."""
    wanted = {router.address for router in facts.target.routers if router.address}
    for router in facts.source.routers:
        if router.peers is None or not wanted or router.agent == "frozen":
            continue
        known = {address: router.peers[address] for address in wanted if address in router.peers}
        if any(peer.connected for peer in known.values()):
            continue
        said = "is not connected to" if known else "does not know"
        yield Finding(
            id="tunnel-down",
            where=at(router, facts.source),
            observed=f"its agent {said} {', '.join(sorted(wanted))}, the routers of {facts.target.name}",
            parameters=parameters_of(router, facts.source),
        ).of(names=True, carries=router.node in leading)
