"""Looks whose a namespace is, before the program registers it.

Only in a cluster that is somebody else's: one that the program makes goes with all that is in it.
"""

from __future__ import annotations

import asyncio

import pulumi

from components.helm_records import deployed_record
from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from domain.namespace_owner import is_somebody_elses


def look_at_namespace(client: KubernetesClient, name: str, release: str) -> bool:
    """Whether others made it. Raises KubernetesError."""
    namespace = client.get(f"/api/v1/namespaces/{name}")
    if namespace is None:
        return False
    has_our_release = deployed_record(client, name, release) is not None
    return is_somebody_elses(namespace, has_our_release=has_our_release)


async def namespace_stays(kubeconfig: pulumi.Output[str] | None, context: str | None, name: str, release: str) -> bool:
    """Whether others made the namespace, which is said: then it has to stay when the stack goes. What an ``up`` can't
    look at stays as well. ``kubeconfig`` is None for a cluster of ours.
    """
    if kubeconfig is None:
        return False
    try:
        client = KubernetesClient(str(await kubeconfig.future()), context)
        theirs = await asyncio.to_thread(look_at_namespace, client, name, release)
    except UnsupportedKubeconfigError:
        pulumi.log.info(
            f"namespace {name}: the program can't log in with this kubeconfig to see who made it, and leaves it when "
            "the stack goes"
        )
        return True
    except KubernetesError as reason:
        # An `up` ends soon, for the same reason; a preview goes on, and is to show no difference because of it.
        pulumi.log.debug(f"namespace {name}: not known who made it: {reason}")
        return not pulumi.runtime.is_dry_run()
    if theirs:
        pulumi.log.info(f"namespace {name}: others made it; this stack uses it, and leaves it when it goes")
    return theirs
