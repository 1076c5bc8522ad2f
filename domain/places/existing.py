"""A cluster that exists and is given by its kubeconfig: nothing is installed on its nodes."""

from __future__ import annotations

from typing import Final

from domain.places.on_premise.access import access_unclear, is_given
from domain.places.on_premise.changes import changes
from domain.places.on_premise.model import OnPremiseSettings
from domain.places.on_premise.nodes import node_count, nodes
from domain.places.on_premise.rules import ON_PREMISE_RULES
from domain.places.place import Place
from domain.problems import Problem
from domain.settings.secrets import Secret

KUBECONFIG: Final = Secret(
    "isthmus:kubeconfig",
    "the existing cluster is reached with it",
    "pulumi config set --secret kubeconfig -s {stack} < KUBECONFIG",
)


def _taken_otherwise(stack: str, before: str) -> Problem | None:
    """Machines that k3s was put on stay with SSH."""
    if before != "ssh":
        return None
    rule = "stands in the place of ssh, by which k3s was put on the machines; it would be taken off all of them"
    fix = f"write ssh again; what runs there ends with `pulumi destroy -s {stack}` only"
    return Problem(stack, "on_premise.kubeconfig", "", rule, fix)


EXISTING: Final = Place(
    name="kubeconfig",
    section="on_premise",
    model=OnPremiseSettings,
    chosen=is_given,
    unclear=access_unclear,
    nodes=nodes,
    node_count=node_count,
    said=lambda section: "existing cluster",
    rules=ON_PREMISE_RULES,
    installs_k3s=False,
    lan=True,
    secrets=(KUBECONFIG,),
    taken_otherwise=_taken_otherwise,
    changes=changes,
)
