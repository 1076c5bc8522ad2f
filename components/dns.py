"""Names in the cluster's own CoreDNS: its own zone, and the zones of the linked peers by way of the relay.

It owns its keys of the ConfigMap ``coredns-custom``, whose other keys are the user's, and, of k3s's Deployment
``coredns``, how it is rolled out: a changed Corefile is tried by a new pod while the old one still answers, so a bad
one fails this ``up`` and not the next restart of the node.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.child_names import formerly
from components.foreign_keys import ForeignKeys
from components.kubernetes_object import KubernetesObject, type_token
from domain.corefile import CUSTOM_CONFIG_MAP
from domain.foreign_keys import NAMESPACE

CHECKSUM_ANNOTATION = "isthmus.dev/corefile-sha256"


def checksum(data: Mapping[str, str]) -> str:
    """A text that changes with any of the files."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ClusterDnsArgs:
    """``zones``: our keys of ``coredns-custom``. ``others`` looks at those of others; None under mocks."""

    zones: Mapping[str, str]
    others: ForeignKeys | None
    after: Sequence[pulumi.Input[pulumi.Resource]]


class ClusterDns(pulumi.ComponentResource):
    """The zones that the cluster's CoreDNS answers or passes on."""

    def __init__(self, name: str, args: ClusterDnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:dns:ClusterDns", name, {}, opts)
        if args.others is not None:
            args.others.warn(args.zones)
        keys = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CUSTOM_CONFIG_MAP, "namespace": NAMESPACE},
            "data": dict(args.zones),
        }
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
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "coredns", "namespace": NAMESPACE},
                "spec": {
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                    "template": {"metadata": {"annotations": {CHECKSUM_ANNOTATION: checksum(args.zones)}}},
                },
            },
            patch=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[zones],
                aliases=formerly(rollout_name, "coredns"),
                custom_timeouts=pulumi.CustomTimeouts(create="10m", update="10m", delete="10m"),
            ),
        )
        self.register_outputs({})
