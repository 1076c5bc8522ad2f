"""A program of nothing but NetBird's operator in a cluster of others.

`before` in the configuration makes its namespace what 48c7c4d registered.
"""

from __future__ import annotations

import pulumi

from components.cluster import Cluster, kubernetes_provider
from components.helm_records import RecoverRelease
from components.kubernetes_object import KubernetesObject
from components.namespace_look import namespace_stays
from components.netbird_operator import RELEASE, NetbirdOperator, NetbirdOperatorArgs
from components.waiting import Waiting
from domain.netbird import NAMESPACE


class FirstOperator(pulumi.ComponentResource):
    """NetbirdOperator as it was, as far as the namespace."""

    def __init__(self, opts: pulumi.ResourceOptions) -> None:
        super().__init__("isthmus:netbird:NetbirdOperator", "netbird-operator", {}, opts)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        KubernetesObject(NAMESPACE, manifest, opts=pulumi.ResourceOptions(parent=self))


async def main() -> None:
    """Registers the operator."""
    config = pulumi.Config()
    kubeconfig = pulumi.Output.secret(config.require("kubeconfig"))
    opts = pulumi.ResourceOptions(providers={"kubernetes": kubernetes_provider("mn", Cluster(kubeconfig, "mn", []))})
    if config.get_bool("before"):
        FirstOperator(opts)
        return
    NetbirdOperator(
        "netbird-operator",
        NetbirdOperatorArgs(
            cluster="mn",
            version="0.8.0",
            management_url="https://nb.example.net",
            agent_image="netbirdio/netbird:0.77.1",
            api_token="nbp_token",
            mirror=None,
            recover=RecoverRelease(RELEASE, NAMESPACE, kubeconfig, "mn"),
            namespace_stays=await namespace_stays(kubeconfig, "mn", NAMESPACE, RELEASE),
            waiting=Waiting("mn", kubeconfig, "mn", active=False),
            after=[],
        ),
        opts,
    )


if __name__ == "__main__":
    pulumi.run(main)
