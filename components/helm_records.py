"""Lets a Helm release go on after an ``up`` that was killed in the middle of it.

Helm keeps a record (a Secret) of each revision. A killed installation leaves one in status ``pending-install`` that
Pulumi's state does not know, and every later ``up`` then fails with "cannot re-use a name that is still in use"; a
killed upgrade leaves ``pending-upgrade`` ("another operation is in progress"). Before the engine creates a release
this removes the records of that name, before it updates one those of interrupted revisions. The objects of the chart
stay: they carry the release's name, so Helm adopts them.

Safe, because the names of our releases start with ``isthmus-``: a record of that name that the state does not know is
ours.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pulumi

from components.kubernetes_client import KubernetesClient, UnsupportedKubeconfigError

INTERRUPTED: Final = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})


def remove_records(
    client: KubernetesClient, namespace: str, release: str, statuses: frozenset[str] | None
) -> list[str]:
    """Deletes Helm's records of a release that are in one of ``statuses`` (None: in any); gives their names."""
    secrets = _secrets(namespace)
    listed = client.request("GET", f"{secrets}?labelSelector=owner%3Dhelm,name%3D{release}")
    removed = []
    for item in listed.get("items") or []:
        metadata = item["metadata"]
        if statuses is None or metadata["labels"].get("status") in statuses:
            client.request("DELETE", f"{secrets}/{metadata['name']}")
            removed.append(metadata["name"])
    return removed


def deployed_record(client: KubernetesClient, namespace: str, release: str) -> dict[str, Any] | None:
    """The Secret with Helm's record of the revision that is deployed; None when none is. Raises KubernetesError."""
    selector = f"owner%3Dhelm,name%3D{release},status%3Ddeployed"
    found = client.request("GET", f"{_secrets(namespace)}?labelSelector={selector}").get("items") or []
    return max(found, key=lambda item: int(item["metadata"]["labels"]["version"]), default=None)


def _secrets(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


class RecoverRelease:
    """The hooks that make one release survive an interruption. Needs the engine: the SDK's mocks have no hooks."""

    def __init__(self, release: str, namespace: str, kubeconfig: pulumi.Input[str], context: str | None) -> None:
        self.release = release
        self.namespace = namespace
        self._kubeconfig = pulumi.Output.from_input(kubeconfig)
        self._context = context

    def binding(self, name: str) -> pulumi.ResourceHookBinding:
        """For the options of the release, whose resource is called ``name``."""
        return pulumi.ResourceHookBinding(
            before_create=[pulumi.ResourceHook(f"{name}-before-create", self._before_create)],
            before_update=[pulumi.ResourceHook(f"{name}-before-update", self._before_update)],
        )

    async def _before_create(self, args: pulumi.ResourceHookArgs) -> None:
        await self._remove(None)

    async def _before_update(self, args: pulumi.ResourceHookArgs) -> None:
        await self._remove(INTERRUPTED)

    async def client(self) -> KubernetesClient | None:
        """A client of the release's cluster; None without a kubeconfig, and with one that it does not speak."""
        kubeconfig = await self._kubeconfig.future()
        if not kubeconfig:
            return None
        try:
            return KubernetesClient(kubeconfig, self._context)
        except UnsupportedKubeconfigError as reason:
            pulumi.log.debug(f"{self.release}: no look at Helm's records: {reason}")
            return None

    async def _remove(self, statuses: frozenset[str] | None) -> None:
        client = await self.client()
        if client is None:
            return
        removed = await asyncio.to_thread(remove_records, client, self.namespace, self.release, statuses)
        if removed:
            pulumi.log.info(f"{self.release}: took over from an interrupted run ({', '.join(removed)})")
