"""The way out of one link: NetBird's policies towards the peer, and the egress gateway policy once the router has its
route.

One component a peer; none of it exists while the peer is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.kubernetes_object import KubernetesObject
from components.netbird_api import NetbirdClaim, NetbirdPolicy
from components.route_wait import job_name, job_spec
from domain import netbird
from domain.egress_policy import egress_policy, link_destinations
from domain.link import Link

NAMESPACE = "kube-system"


@dataclass(frozen=True)
class EgressGatewayArgs:
    """``own_peers`` are this cluster's router addresses: Cilium looks at wt0 again only when its policy changes, so a
    new address needs a new look. ``router`` has to be up.
    """

    cluster: str
    claim: NetbirdClaim
    link: Link
    agent_image: str
    own_peers: pulumi.Output[dict[str, str]]
    router: Sequence[pulumi.Resource]


class EgressGateway(pulumi.ComponentResource):
    """All pods reach the peer's pods by the router."""

    def __init__(self, name: str, args: EgressGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        peer = args.link.cluster
        super().__init__("isthmus:egress_gateway:EgressGateway", name, {"peer": peer}, opts)
        addresses = ", ".join(str(address) for address in args.link.router_addresses)
        policies = [
            NetbirdPolicy(
                policy.name,
                policy,
                claim=args.claim,
                cluster=args.cluster,
                peer_routers=[str(address) for address in args.link.router_addresses],
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.router)),
            )
            for policy in netbird.policies(args.cluster, peer)
        ]
        # Some address of the peer's pods: the route covers all of them or none.
        pod = args.link.pod_cidr[1]
        waited_for = job_name(f"isthmus-wait-{peer}", args.agent_image, pod, addresses)
        wait = KubernetesObject(
            f"isthmus-wait-{peer}",
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": waited_for, "namespace": NAMESPACE},
                "spec": job_spec(args.agent_image, [pod]),
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=policies,
                custom_timeouts=pulumi.CustomTimeouts(create="6m", update="6m"),
            ),
        )
        manifest = egress_policy(peer, link_destinations(args.link.pod_cidr))
        own = args.own_peers.apply(lambda peers: ",".join(sorted(peers.values())))
        KubernetesObject(
            manifest["metadata"]["name"],
            {**manifest, "metadata": {**manifest["metadata"], "annotations": {"isthmus.dev/source-addresses": own}}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[wait]),
        )
        self.register_outputs({})
