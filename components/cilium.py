"""Cilium from its chart, and the policy that keeps pods from the provider's metadata address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components import waits
from components.chart import ChartSource, release
from components.child_names import formerly
from components.helm_records import RecoverRelease
from components.kubernetes_object import KubernetesObject
from components.waiting import Waiting
from domain.cilium_values import CHART, NAMESPACE, REPOSITORY
from domain.metadata_policy import metadata_policy
from domain.objects.cilium import agents_patch, release_mark

RELEASE: Final = "isthmus-cilium"


@dataclass(frozen=True)
class CiliumArgs:
    """``values`` of the chart. They, what is in them, the version and the mirror may come from other resources; a
    preview that does not know them yet does not look into the chart.
    """

    version: pulumi.Input[str]
    values: Mapping[str, pulumi.Input[Any]]
    mirror: pulumi.Input[str] | None
    recover: RecoverRelease | None
    waiting: Waiting
    after: Sequence[pulumi.Input[pulumi.Resource]]


class Cilium(pulumi.ComponentResource):
    """The pod network. ``ready`` is done when its agents run on all nodes, and with them its custom resources exist.

    Helm is no judge of that: the chart lets two agents be unavailable, so Helm takes a cluster of two nodes for ready
    at once. Each ``up`` looks for itself (:func:`components.waits.cilium_agents`).
    """

    ready: pulumi.Input[pulumi.Resource]

    def __init__(self, name: str, args: CiliumArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cilium:Cilium", name, {"version": args.version}, opts)
        agents_name, policy_name = f"{name}-agents", f"{name}-deny-metadata"
        installed = release(
            f"isthmus-{name}",
            RELEASE,
            ChartSource(CHART, args.version, REPOSITORY),
            namespace=NAMESPACE,
            values=args.values,
            mirror=args.mirror,
            recover=args.recover,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        mark = pulumi.Output.all(args.version, dict(args.values)).apply(lambda known: release_mark(*known))
        agents = KubernetesObject(
            agents_name,
            agents_patch(mark),
            awaited=False,
            patch=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[installed],
                # The DaemonSet goes with the release.
                retain_on_delete=True,
                aliases=formerly(agents_name, "cilium-agents"),
            ),
        )
        self.ready = args.waiting.until(lambda client, _: waits.cilium_agents(client), after=agents)
        manifest = metadata_policy()
        # Cilium's operator makes the definitions, not the chart, and an agent is ready only when it has seen them.
        KubernetesObject(
            policy_name,
            manifest,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[self.ready], aliases=formerly(policy_name, "isthmus-deny-metadata")
            ),
        )
        self.register_outputs({})
