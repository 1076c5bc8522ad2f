"""Looks at a cluster that somebody else runs, before the first resource of the stack is made in it.

What its API says is judged by ``domain/places/on_premise/given_cluster.py``. An API that does not answer is no word
against it here: the program says so elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import Final

import pulumi

from components.configuration import StackConfiguration
from components.hetzner_lookup import in_daemon
from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from domain.places.existing import KUBECONFIG
from domain.places.on_premise.given_cluster import GivenCluster, given_cluster_problems, given_cluster_remarks
from domain.places.outputs import RAISED_WITH

ANSWER_SECONDS: Final = 10.0
"""For both answers; what is silent for longer is not looked at."""


async def refuse_unfit_cluster(configuration: StackConfiguration) -> None:
    """Raises ``pulumi.RunError`` with everything that keeps a given cluster from becoming one of the fleet. Does
    nothing for other stacks, and once an update has raised it.
    """
    settings, kubeconfig = configuration.settings, configuration.values.get(KUBECONFIG.key)
    section = settings.on_premise
    if section is None or section.kubeconfig is None or kubeconfig is None or RAISED_WITH in configuration.outputs:
        return
    context = section.kubeconfig.context
    try:
        found = await asyncio.wait_for(in_daemon(lambda: look_at_cluster(kubeconfig, context)), ANSWER_SECONDS)
    except (TimeoutError, KubernetesError, UnsupportedKubeconfigError) as reason:
        pulumi.log.debug(f"{settings.stack}: the cluster was not looked at: {reason or 'no answer'}")
        return
    for remark in given_cluster_remarks(settings.stack, found):
        pulumi.log.warn(remark)
    problems = given_cluster_problems(settings.stack, found, section.machines, settings.network.pod_cidr)
    if problems:
        raise configuration.refusal(problems, "with the cluster")


def look_at_cluster(kubeconfig: str, context: str) -> GivenCluster:
    """Its Nodes and DaemonSets. Raises KubernetesError, UnsupportedKubeconfigError."""
    client = KubernetesClient(kubeconfig, context)
    nodes, sets = (client.request("GET", path)["items"] for path in ("/api/v1/nodes", "/apis/apps/v1/daemonsets"))
    return GivenCluster(nodes, sets)
