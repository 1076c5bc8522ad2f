"""From facts and probes to causes. Pure: no cluster, no clock, no printing.

Each fault that the facts show is a finding (`findings.py`) with the probes that it can explain. What explains most of
what was lost is told first, of several that explain as much the one that stands nearer to the beginning of the way
(the catalogue's order). A fault that explains nothing which was lost is a remark. Where probes are lost that no finding
explains, that is said as well, with a command that shows more: a link that is down never goes without a cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain.names import RELAY_PORT
from domain.overlay import NETBIRD_INTERFACE
from lab.status.causes import CATALOGUE
from lab.status.facts import ClusterFacts, LinkFacts
from lab.status.finding import Finding
from lab.status.findings import findings_of
from lab.status.results import Cause, NameProbe, Passed, Probe

_ORDER: Final = {identifier: number for number, identifier in enumerate(CATALOGUE)}


def verdict_of(passed: Sequence[bool]) -> Passed:
    """All, some or none; unknown when nothing was asked."""
    if not passed:
        return "unknown"
    return "up" if all(passed) else "partly" if any(passed) else "down"


def judge(facts: LinkFacts, probes: Sequence[Probe], name_probes: Sequence[NameProbe]) -> tuple[Cause, ...]:
    """Every cause of a direction, what explains most first; empty in health."""
    lost = [probe for probe in probes if not probe.passed]
    names_lost = [probe for probe in name_probes if not probe.passed]
    findings = sorted(findings_of(facts), key=lambda finding: _ORDER[finding.id])
    explained = [sum(finding.explains(probe) for probe in lost) for finding in findings]
    causes = [
        (count, _cause(finding, facts, packets=count > 0, names=finding.names and bool(names_lost)))
        for finding, count in zip(findings, explained, strict=True)
    ]
    # Sorting keeps the catalogue's order among those that explain as much.
    told = [cause for _, cause in sorted(causes, key=lambda counted: -counted[0]) if cause.explains]
    unexplained = [probe for probe in lost if not any(finding.explains(probe) for finding in findings)]
    if unexplained:
        told.append(_cause(_without_cause(facts, unexplained), facts, packets=True))
    if names_lost and not any(finding.names for finding in findings):
        told.append(_cause(_names_without_cause(facts, names_lost), facts, names=True))
    return (*told, *(cause for _, cause in causes if not cause.explains))


def _cause(finding: Finding, facts: LinkFacts, *, packets: bool = False, names: bool = False) -> Cause:
    entry = CATALOGUE[finding.id]
    parameters = {"source": facts.source.name, "target": facts.target.name, **finding.parameters}
    return Cause(
        id=finding.id,
        title=entry.title,
        where=finding.where,
        observed=finding.observed,
        fix=entry.fix.format(**parameters),
        kind=entry.kind if entry.kind == "security" else "fault" if packets or names else "remark",
        explains_packets=packets,
        explains_names=names,
    )


def _without_cause(facts: LinkFacts, lost: Sequence[Probe]) -> Finding:
    first = lost[0]
    return Finding(
        id="unexplained",
        where=f"{facts.source.name} → {facts.target.name}",
        observed=f"{len(lost)} of the probes are lost, the first from {first.source_node} to {first.address} on "
        f"{first.target_node} ({first.protocol}): {first.said or 'no answer'}",
        parameters={"cluster": facts.source.name, "node": _first_router(facts.source), "address": first.address},
    )


def _names_without_cause(facts: LinkFacts, lost: Sequence[NameProbe]) -> Finding:
    answered = [step for step, answers in facts.name_steps.items() if answers]
    silent = [step for step, answers in facts.name_steps.items() if not answers]
    addresses = ", ".join(f"{router.address}:{RELAY_PORT}" for router in facts.target.routers if router.address)
    if "peer's relay" in silent and addresses:
        asking = _first_router(facts.source)
        said = facts.name_errors.get("peer's relay") or "no answer"
        return Finding(
            id="relay-unreached",
            where=f"{asking}, router of {facts.source.name}",
            observed=f"the relay of {facts.target.name} at {addresses}, asked over UDP by {NETBIRD_INTERFACE} for "
            f"{lost[0].name}: {said}",
            parameters={"node": asking, "peer_node": _first_router(facts.target)},
        )
    seen = [*(f"the {step} answers" for step in answered), *(f"the {step} does not" for step in silent)]
    return Finding(
        id="names-unexplained",
        where=f"{facts.source.name} → {facts.target.name}",
        observed=f"{lost[0].name} asked of {lost[0].server}: {'; '.join([lost[0].said or 'no answer', *seen])}",
    )


def _first_router(cluster: ClusterFacts) -> str:
    return next((router.node for router in cluster.routers), f"{cluster.name}-1")
