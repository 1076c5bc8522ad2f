"""Looks at ``coredns-custom`` before keys of ours are put into it: those of others are never overwritten in silence.

The look is a hook of the resource that writes the keys. It knows from the state which keys were ours before, it runs
only when something is to be written, and nothing of it stays. A preview warns, an ``up`` ends before it writes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi

from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from domain.corefile import CUSTOM_CONFIG_MAP
from domain.foreign_keys import NAMESPACE, in_the_way

_OBJECT = f"{NAMESPACE}/{CUSTOM_CONFIG_MAP}"


class KeysTakenError(Exception):
    """Keys of others stand in the way of ours."""


class ForeignKeys:
    """The hooks. They need the engine: the SDK's mocks have none."""

    def __init__(self, kubeconfig: pulumi.Output[str], context: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._context = context

    def binding(self) -> pulumi.ResourceHookBinding:
        """For the options of the resource whose ``data`` are the keys."""
        hook = pulumi.ResourceHook("foreign-keys", self._before, pulumi.ResourceHookOptions(on_dry_run=True))
        return pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])

    async def _before(self, args: pulumi.ResourceHookArgs) -> None:
        ours = (args.new_inputs or {}).get("data") or {}
        known = (args.old_inputs or {}).get("data") or {}
        kubeconfig = await self._kubeconfig.future()
        if not kubeconfig:
            return
        preview = pulumi.runtime.is_dry_run()
        try:
            live = await asyncio.to_thread(live_config_map, KubernetesClient(kubeconfig, self._context))
        except (KubernetesError, UnsupportedKubeconfigError) as error:
            unseen = sorted(set(ours) - set(known))
            if unseen and not preview:
                pulumi.log.warn(
                    f"{_OBJECT} can't be looked at ({error}); these keys are written whoever has made them: "
                    f"{', '.join(unseen)}"
                )
            return
        reasons = in_the_way(live, ours, known)
        if reasons and not preview:
            raise KeysTakenError("; ".join(reasons))
        for reason in reasons:
            pulumi.log.warn(f"an `up` would end here: {reason}")


def live_config_map(client: KubernetesClient) -> dict[str, Any] | None:
    """The ConfigMap as it is, None when there is none. Raises KubernetesError."""
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps?fieldSelector=metadata.name%3D{CUSTOM_CONFIG_MAP}"
    items = client.request("GET", path).get("items") or []
    return dict(items[0]) if items else None
