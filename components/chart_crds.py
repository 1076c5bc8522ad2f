"""Keeps the CRDs of a chart at the version of its release, in each ``up``.

Helm makes what lies in a chart's crds/ at the first installation, and never looks at it again: a later chart runs with
the kinds of the first one. Without a kind that it watches NetBird's operator ends after two minutes, again and again.

It is no resource. Nothing of it is in the state, and so nothing ever deletes a CRD, with which all objects of its kind
would go; it asks for no step when a stack of an earlier release is updated. As with Helm they stay when the stack goes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pulumi

from components.helm_records import RecoverRelease, deployed_record
from components.kubernetes_client import METADATA_ONLY, KubernetesClient, KubernetesError
from domain.chart_crds import MARK, crds_of_record

CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class CrdsNotKeptError(pulumi.RunError):
    """The CRDs of a release could not be brought up to date. The engine shows the text without a traceback."""


def keep_crds(client: KubernetesClient, namespace: str, release: str) -> tuple[str, list[str]]:
    """Applies the CRDs that are missing or of another version of the chart; gives the chart, and their names.

    Raises KubernetesError, and ValueError when there is no record of the release.
    """
    record = deployed_record(client, namespace, release)
    if record is None:
        raise ValueError(f"Helm has no record of a release {release} in namespace {namespace} that is deployed")
    chart, crds = crds_of_record(record)
    applied = []
    for crd in crds:
        there = client.get(f"{CRDS}/{crd.name}", accept=METADATA_ONLY)
        if there is None or _annotations(there).get(MARK) != crd.mark:
            client.apply(f"{CRDS}/{crd.name}", crd.marked())
            applied.append(crd.name)
    return chart, applied


def with_crds(release: pulumi.CustomResource, recover: RecoverRelease | None) -> pulumi.Input[pulumi.Resource]:
    """The release as its dependents have to wait for it: until its CRDs are up to date. A preview does nothing."""
    if recover is None or pulumi.runtime.is_dry_run():
        return release
    return asyncio.ensure_future(_kept(release, recover))


async def _kept(release: pulumi.CustomResource, recover: RecoverRelease) -> pulumi.Resource:
    # Without a value when an `up` of some targets leaves it out.
    if await release.id.future() is None:
        return release
    client = await recover.client()
    if client is None:
        pulumi.log.info(
            f"{recover.release}: the program can't log in with this kubeconfig and does not look at the CRDs of the "
            "chart; after another version of it: `kubectl apply --server-side --force-conflicts -f crds/`"
        )
        return release
    try:
        chart, applied = await asyncio.to_thread(keep_crds, client, recover.namespace, recover.release)
    except (KubernetesError, ValueError) as error:
        raise CrdsNotKeptError(
            f"{recover.release}: the CRDs of its chart were not brought up to date: {error}; the next `pulumi up` "
            "tries it again"
        ) from None
    if applied:
        names = ", ".join(name.partition(".")[0] for name in applied)
        pulumi.log.info(f"{recover.release}: CRDs brought to chart {chart}: {names}")
    return release


def _annotations(item: dict[str, Any]) -> dict[str, str]:
    return dict(item["metadata"].get("annotations") or {})
