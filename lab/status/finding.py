"""A fault that facts show, and which lost probes it can explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lab.status.facts import ClusterFacts, RouterFacts
from lab.status.results import Placement, Probe

ROUTER_POD_LABEL: Final = "isthmus.dev/router-of"
"""Of the routers' pods, with the cluster's name; what people give to kubectl where no pod has a name yet."""

ANYWHERE: Final[frozenset[Placement]] = frozenset({"router", "other"})
OTHER: Final[frozenset[Placement]] = frozenset({"other"})
NOWHERE: Final[frozenset[Placement]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault in the facts, and which lost probes it can explain: none, as long as nothing else is said."""

    id: str
    where: str
    observed: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    sources: frozenset[Placement] = NOWHERE
    targets: frozenset[Placement] = NOWHERE
    source_nodes: frozenset[str] | None = None
    target_nodes: frozenset[str] | None = None
    """Only probes from, or to, these nodes; None for all."""
    names: bool = False

    def explains(self, probe: Probe) -> bool:
        """Whether this can be why the probe was lost."""
        return (
            probe.source_placement in self.sources
            and probe.target_placement in self.targets
            and (self.source_nodes is None or probe.source_node in self.source_nodes)
            and (self.target_nodes is None or probe.target_node in self.target_nodes)
        )

    def of(self, *, targets: frozenset[Placement] = ANYWHERE, names: bool = False, carries: bool = True) -> Finding:
        """The same, explaining what is lost on the way to these places; nothing where packets don't come by."""
        return replace(self, sources=ANYWHERE, targets=targets, names=names) if carries else self


def at(router: RouterFacts, cluster: ClusterFacts) -> str:
    """Where a router is, as a cause says it."""
    return f"{router.node}, router of {cluster.name}"


def parameters_of(router: RouterFacts, cluster: ClusterFacts) -> dict[str, object]:
    """What a fix about a router can name."""
    pod = router.pod or f"-l {ROUTER_POD_LABEL}={cluster.name}"
    return {"cluster": cluster.name, "node": router.node, "pod": pod, "pid": router.agent_pid or "PID"}
