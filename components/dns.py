"""Names in the cluster's own CoreDNS: its own zone, and the zones of the linked peers by way of the relay.

It owns its keys of the ConfigMap ``coredns-custom``, whose other keys are the user's, and, of k3s's Deployment
``coredns``, how it is rolled out: a changed Corefile is tried by a new pod while the old one still answers, so a bad
one fails this ``up`` and not the next restart of the node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.child_names import formerly
from components.foreign_keys import ForeignKeys
from components.kubernetes_object import KubernetesObject, type_token
from domain.corefile import CUSTOM_CONFIG_MAP
from domain.objects.cluster_dns import DEPLOYMENT, checksum, rollout_patch, zones_patch


@dataclass(frozen=True)
class ClusterDnsArgs:
    """``zones``: our keys of ``coredns-custom``, which are known. What they hold may come from other resources.
    ``others`` looks at those of others; None under mocks.
    """

    zones: Mapping[str, pulumi.Input[str]]
    others: ForeignKeys | None
    after: Sequence[pulumi.Input[pulumi.Resource]]


class ClusterDns(pulumi.ComponentResource):
    """The zones that the cluster's CoreDNS answers or passes on."""

    def __init__(self, name: str, args: ClusterDnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:dns:ClusterDns", name, {}, opts)
        if args.others is not None:
            args.others.warn(args.zones)
        keys = zones_patch(args.zones)
        texts: pulumi.Output[Mapping[str, str]] = pulumi.Output.all(**args.zones)
        zones_name, rollout_name = f"{name}-zones", f"{name}-coredns"
        zones = KubernetesObject(
            zones_name,
            keys,
            patch=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                hooks=args.others.binding(zones_name) if args.others is not None else None,
                aliases=[
                    *formerly(zones_name, CUSTOM_CONFIG_MAP),
                    # Until 48c7c4d it was the whole object, whose end took the keys of others along.
                    pulumi.Alias(name=CUSTOM_CONFIG_MAP, type_=type_token(keys, patch=False)),
                ],
            ),
        )
        KubernetesObject(
            rollout_name,
            rollout_patch(texts.apply(checksum)),
            patch=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[zones],
                aliases=formerly(rollout_name, DEPLOYMENT),
                custom_timeouts=pulumi.CustomTimeouts(create="10m", update="10m", delete="10m"),
            ),
        )
        self.register_outputs({})
