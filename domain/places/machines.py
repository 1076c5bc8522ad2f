"""Machines of one's own, on which the program installs k3s over SSH."""

from __future__ import annotations

from typing import Final

from domain.places.on_premise.access import access_unclear, over_ssh
from domain.places.on_premise.changes import changes, generation_at
from domain.places.on_premise.model import OnPremiseSettings
from domain.places.on_premise.nodes import node_count, nodes
from domain.places.on_premise.rules import ON_PREMISE_RULES
from domain.places.on_premise.starter_text import EXAMPLE_LAN, secret_line, section_text
from domain.places.place import Place, StarterText
from domain.problems import Problem
from domain.settings.secrets import Secret

SSH_PRIVATE_KEY: Final = Secret(
    "isthmus:sshPrivateKey",
    "the machines are reached with it",
    "pulumi config set --secret sshPrivateKey -s {stack} < KEYFILE",
)


def _key_fault(secret: Secret, value: str) -> str | None:
    # Here, because a plan looks at no secret and does without the cryptography that the module brings along.
    from domain.keys import ssh_private_key_fault

    return ssh_private_key_fault(value)


def _taken_otherwise(stack: str, before: str) -> Problem | None:
    """A cluster that somebody else runs stays theirs."""
    if before != "kubeconfig":
        return None
    rule = "stands in the place of kubeconfig, which leads to a cluster that runs; k3s would be installed over it"
    fix = (
        f"write kubeconfig again, or let go of the cluster with `pulumi destroy -s {stack}` and take it off the "
        "machines first"
    )
    return Problem(stack, "on_premise.ssh", "", rule, fix)


MACHINES: Final = Place(
    name="ssh",
    section="on_premise",
    model=OnPremiseSettings,
    chosen=over_ssh,
    unclear=access_unclear,
    nodes=nodes,
    node_count=node_count,
    said=lambda section: "on-premise",
    rules=ON_PREMISE_RULES,
    lan=True,
    secrets=(SSH_PRIVATE_KEY,),
    secret_fault=_key_fault,
    taken_otherwise=_taken_otherwise,
    changes=changes,
    generation_at=generation_at,
    starter=StarterText(
        text=section_text,
        secret=secret_line,
        where="on machines of one's own",
        nodes="the LAN of the machines",
        nodes_example=str(EXAMPLE_LAN),
    ),
)
