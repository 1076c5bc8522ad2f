"""Looks at ``coredns-custom`` before keys of ours are put into it: those of others are never overwritten in silence.

The look before the keys are written is a hook of their resource. It knows from the state which keys were ours before,
and nothing of it stays: a preview warns, an ``up`` ends before it writes. A second look, in each preview and each
``up``, warns of a zone that somebody serves beside us: CoreDNS goes on with what it has read before, and does not start
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from components.reachability import why_unreachable
from domain.corefile import CUSTOM_CONFIG_MAP
from domain.foreign_keys import NAMESPACE, taken_names, zones_twice
from domain.kubeconfig import access

_OBJECT = f"{NAMESPACE}/{CUSTOM_CONFIG_MAP}"


class KeysTakenError(Exception):
    """Keys of others stand in the way of ours."""


class ForeignKeys:
    """Both looks. They need the engine: the SDK's mocks have no hooks."""

    def __init__(self, kubeconfig: pulumi.Input[str], context: str | None) -> None:
        self._kubeconfig = pulumi.Output.from_input(kubeconfig)
        self._context = context

    def binding(self, name: str) -> pulumi.ResourceHookBinding:
        """For the options of the resource ``name``, whose ``data`` are the keys."""
        hook = pulumi.ResourceHook(f"{name}-foreign-keys", self._before, pulumi.ResourceHookOptions(on_dry_run=True))
        return pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])

    def warn(self, zones: Mapping[str, pulumi.Input[str]]) -> None:
        """Warns of zones that are served twice, once kubeconfig and zones are known, beside all else."""

        async def look(known: Sequence[Any]) -> str:
            kubeconfig, ours = known
            try:
                live = await asyncio.to_thread(self._live, kubeconfig)
            except (KubernetesError, UnsupportedKubeconfigError) as error:
                pulumi.log.debug(f"{_OBJECT} can't be looked at: {error}")
                return ""
            for reason in zones_twice(live, ours):
                pulumi.log.warn(reason)
            return ""

        # The program does not end before what it has begun.
        _looked: pulumi.Output[str] = pulumi.Output.all(self._kubeconfig, dict(zones)).apply(look)

    def _live(self, kubeconfig: str) -> dict[str, Any] | None:
        """The ConfigMap, None when there is none. A preview does not wait long for an API that is out of its reach."""
        client = KubernetesClient(kubeconfig, self._context)
        if pulumi.runtime.is_dry_run() and (reason := why_unreachable(*access(kubeconfig, self._context).address)):
            raise KubernetesError(reason)
        return client.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CUSTOM_CONFIG_MAP}")

    async def _before(self, args: pulumi.ResourceHookArgs) -> None:
        ours = (args.new_inputs or {}).get("data") or {}
        known = (args.old_inputs or {}).get("data") or {}
        kubeconfig = await self._kubeconfig.future()
        if not kubeconfig:
            return
        preview = pulumi.runtime.is_dry_run()
        try:
            live = await asyncio.to_thread(self._live, kubeconfig)
        except (KubernetesError, UnsupportedKubeconfigError) as error:
            unseen = sorted(set(ours) - set(known))
            if unseen and not preview:
                pulumi.log.warn(
                    f"{_OBJECT} can't be looked at ({error}); these keys are written whoever has made them: "
                    f"{', '.join(unseen)}"
                )
            return
        taken, twice = taken_names(live, ours, known), zones_twice(live, ours, known)
        if preview:
            for reason in taken:
                pulumi.log.warn(f"an `up` would end here: {reason}")
        elif taken or twice:
            raise KeysTakenError("; ".join([*taken, *twice]))
