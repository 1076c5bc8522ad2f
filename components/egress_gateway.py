"""The way out of one link: NetBird's policies towards the peer, and the egress gateway policy once the routers
have their route.

One component a peer; none of it exists while the peer is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from components import route_waits
from components.child_names import formerly
from components.keeper_words import link_carries
from components.kubernetes_object import KubernetesObject
from components.netbird_api import NetbirdClaim, NetbirdPolicy
from components.waiting import Waiting
from domain import overlay
from domain.egress_policy import egress_policy
from domain.link import Link

STEERED: Final = "spec.egressGateway.nodeSelector"
"""Belongs to whoever names the gateway's node. The kind has it as one piece (``x-kubernetes-map-type: atomic``), so an
engine that applied it with the rest of the policy would take the node's name out, and Cilium would lead the link to the
first router by name for as long as nobody names one again.
"""


@dataclass(frozen=True)
class EgressGatewayArgs:
    """``own_peers`` are this cluster's router addresses: Cilium looks at wt0 again only when its policy changes, so a
    new address needs a new look. ``router`` has to be up, ``guards`` on every node. ``routers`` are the names of the
    router nodes, ``api_token`` is secret: NetBird is asked when the route does not come. ``keeper_port`` is that of the
    peer's keepers; None where one side has none. ``keepers`` are ours once they run: they say whether the link carries;
    None where the peer can't answer them. The link and the peer's port are read before anything is registered, and with
    the names they say which policies there are; the own addresses, the URL and the token may come from other resources.
    """

    cluster: str
    claim: NetbirdClaim
    link: Link
    routers: Sequence[str]
    own_peers: pulumi.Input[dict[str, str]]
    router: Sequence[pulumi.Input[pulumi.Resource]]
    guards: pulumi.Input[pulumi.Resource]
    waiting: Waiting
    management_url: pulumi.Input[str]
    api_token: pulumi.Input[str]
    keeper_port: int | None = None
    keepers: pulumi.Input[pulumi.Resource] | None = None


class EgressGateway(pulumi.ComponentResource):
    """All pods reach the peer's pods by a router, and its services where the link carries them. ``policy`` steers them
    there.
    """

    policy: pulumi.Resource

    def __init__(self, name: str, args: EgressGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        peer = args.link.cluster
        super().__init__("isthmus:egress_gateway:EgressGateway", name, {"peer": peer}, opts)
        policies = [
            NetbirdPolicy(
                policy.name,
                policy,
                claim=args.claim,
                cluster=args.cluster,
                peer_routers=[str(address) for address in args.link.router_addresses],
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.router)),
            )
            for policy in overlay.policies(
                args.cluster, peer, cluster_ips=args.link.cluster_ips, keeper_port=args.keeper_port
            )
        ]
        wanted = route_waits.RouteWanted(
            cluster=args.cluster,
            peer=peer,
            destinations=args.link.destinations,
            routers=args.routers,
            peer_routers=args.link.router_addresses,
        )
        routed = args.waiting.until(
            lambda client, known: route_waits.route(client, wanted, *known),
            after=args.guards,
            beside=policies,
            values=pulumi.Output.all(args.own_peers, args.management_url, args.api_token),
        )
        manifest = egress_policy(peer, args.link.destinations)
        own_peers: pulumi.Output[dict[str, str]] = pulumi.Output.from_input(args.own_peers)
        own = own_peers.apply(lambda peers: ",".join(sorted(peers.values())))
        policy_name = f"isthmus-{name}"
        aliases = formerly(policy_name, manifest["metadata"]["name"])
        self.policy = KubernetesObject(
            policy_name,
            {**manifest, "metadata": {**manifest["metadata"], "annotations": {route_waits.SOURCES_ANNOTATION: own}}},
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[routed, *policies], aliases=aliases, ignore_changes=[STEERED]
            ),
        )
        if args.keepers is not None:
            args.waiting.until(
                lambda client, _: link_carries(client, peer, args.routers), after=self.policy, beside=[args.keepers]
            )
        self.register_outputs({})
