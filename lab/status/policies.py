"""What NetBird's policies of a link are, against what the program makes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from domain import overlay
from lab.status.facts import PolicyFacts, RuleFacts

Carried = Literal["pods", "names", "services"]


@dataclass(frozen=True, kw_only=True)
class PolicyFault:
    """What is wrong with a policy, and what it should carry."""

    id: Literal["policy-missing", "policy-disabled", "policy-changed", "policy-widened"]
    policy: str
    observed: str
    carries: Carried


def policy_faults(
    found: Mapping[str, PolicyFacts], source: str, target: str, *, cluster_ips: bool
) -> Iterator[PolicyFault]:
    """The faults of every policy that lets ``source`` reach ``target``; with ``cluster_ips`` its services as well."""
    groups: Mapping[str, Carried] = {overlay.pods_group(target): "pods", overlay.services_group(target): "services"}
    for wanted in overlay.policies(source, target, cluster_ips=cluster_ips):
        carries = groups.get(wanted.destination_group, "names")
        for identifier, observed in _faults(found.get(wanted.name), wanted):
            yield PolicyFault(id=identifier, policy=wanted.name, observed=observed, carries=carries)


_Id = Literal["policy-missing", "policy-disabled", "policy-changed", "policy-widened"]


def _faults(found: PolicyFacts | None, wanted: overlay.Policy) -> Iterator[tuple[_Id, str]]:
    if found is None:
        yield "policy-missing", "there is no policy of this name"
        return
    rules = [rule for rule in found.rules if rule.enabled and rule.accepts]
    if not found.enabled or not any(rule.enabled for rule in found.rules):
        yield "policy-disabled", "the policy is disabled" if not found.enabled else "its rule is disabled"
        return
    if wider := [text for rule in rules for text in _wider(rule, wanted)]:
        yield "policy-widened", "; ".join(dict.fromkeys(wider))
    if not any(_suffices(rule, wanted) for rule in rules):
        yield (
            "policy-changed",
            (f"no rule of it accepts {_traffic(wanted)} from {wanted.source_group} to {wanted.destination_group}"),
        )


def _wider(rule: RuleFacts, wanted: overlay.Policy) -> Iterator[str]:
    """What the rule lets through besides what it is for."""
    if more := sorted(rule.sources - {wanted.source_group}):
        yield f"also lets in {', '.join(more)}"
    if more := sorted(rule.destinations - {wanted.destination_group}):
        yield f"also leads to {', '.join(more)}"
    if rule.bidirectional and not wanted.bidirectional:
        yield "also lets the other direction through"
    if wanted.protocol != "all" and rule.protocol != wanted.protocol:
        yield f"accepts {rule.protocol} instead of {wanted.protocol}"
    if wanted.ports and not rule.ports:
        yield "accepts every port"
    if wanted.ports and (more := sorted(set(rule.ports) - set(wanted.ports))):
        yield f"also accepts the ports {', '.join(more)}"


def _suffices(rule: RuleFacts, wanted: overlay.Policy) -> bool:
    return (
        wanted.source_group in rule.sources
        and wanted.destination_group in rule.destinations
        and rule.protocol in ("all", wanted.protocol)
        and (not rule.ports or set(wanted.ports) <= set(rule.ports))
        and (bool(wanted.ports) or not rule.ports)
    )


def _traffic(wanted: overlay.Policy) -> str:
    return f"{wanted.protocol} {','.join(wanted.ports)}".strip() if wanted.protocol != "all" else "everything"
