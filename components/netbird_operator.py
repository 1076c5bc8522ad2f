"""NetBird's operator from its chart, in its namespace, with its access token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.chart import ChartSource, release
from components.helm_records import RecoverRelease
from components.kubernetes_object import KubernetesObject
from domain.netbird import API_KEY_ENTRY, API_KEY_SECRET, NAMESPACE

CHART: Final = "netbird-operator"
CHART_HOME: Final = "oci://ghcr.io/netbirdio/helm-charts/netbird-operator"
RELEASE: Final = "isthmus-netbird-operator"


@dataclass(frozen=True)
class NetbirdOperatorArgs:
    """``api_token`` is secret. ``after`` has to be there first: without a pod network the operator never gets ready."""

    version: str
    management_url: str
    agent_image: str
    api_token: pulumi.Input[str]
    mirror: str | None
    recover: RecoverRelease | None
    after: Sequence[pulumi.Resource]


class NetbirdOperator(pulumi.ComponentResource):
    """The operator, ready to reconcile; ``ready`` is what its custom resources have to wait for."""

    ready: pulumi.Resource

    def __init__(self, name: str, args: NetbirdOperatorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:netbird:NetbirdOperator", name, {"version": args.version}, opts)
        namespace = KubernetesObject(
            NAMESPACE,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        token = KubernetesObject(
            API_KEY_SECRET,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": API_KEY_SECRET, "namespace": NAMESPACE},
                "stringData": {API_KEY_ENTRY: pulumi.Output.secret(args.api_token)},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
        )
        self.ready = release(
            RELEASE,
            ChartSource(CHART, args.version, CHART_HOME),
            namespace=NAMESPACE,
            values=operator_values(args.management_url, args.agent_image),
            mirror=args.mirror,
            recover=args.recover,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace, token]),
        )
        self.register_outputs({})


def operator_values(management_url: str, agent_image: str) -> dict[str, Any]:
    """Values for the chart 0.8.0 (charts/netbird-operator/values.yaml in netbirdio/kubernetes-operator).

    Without cert-manager the chart makes a certificate authority for its webhook; it keeps it, so that an upgrade does
    not break the webhook until the operator has read the new one.
    """
    return {
        "managementURL": management_url,
        "routingClientImage": agent_image,
        "netbirdAPI": {"keyFromSecret": {"name": API_KEY_SECRET, "key": API_KEY_ENTRY}},
        "webhook": {"enableCertManager": False, "keepTLSSecret": True},
    }
