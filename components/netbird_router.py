"""The router of a cluster: the operator's custom resources, the REST objects that they need and lack, and its address.

What the operator makes of a NetworkRouter is a Deployment in the pod network with an identity that is gone with its
pod. The two levers to change that are here: a Pulumi transform that adds the pod template override to the router, and
a server-side-apply patch of the Deployment for what the override can't say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, cast

import pulumi

from components import waits
from components.child_names import formerly
from components.engine import ENGINE, Engine
from components.hetzner_leftovers import StackInstance
from components.inputs import text_of
from components.kubernetes_object import KubernetesObject
from components.netbird_api import (
    NetbirdClaim,
    NetbirdDnsZone,
    NetbirdGroup,
    NetbirdNetworkResource,
    NetbirdRouterPeers,
    NetbirdSetupKey,
)
from components.router_zone import zone_hooks
from components.waiting import Waiting
from domain import netbird, overlay
from domain.router_rollout import alone_on_its_node, old_pod_first

Transform = pulumi.ResourceTransform

WAIT_READY = {"pulumi.com/waitFor": "condition=Ready"}
MADE_WITHIN = "10m"
"""What the engine waits for the operator's work on an object."""
RENEWALS = "isthmus.dev/setup-key-renewals"
"""Annotation of the SetupKey: another value lets the operator look at the key at once."""


@dataclass(frozen=True)
class NetbirdRouterArgs:
    """``nodes``: names of the router nodes; ``generations`` of those that were made anew. ``operator`` reconciles the
    custom resources. ``service_cidr`` is None where peers are not to reach services. ``mtu`` is that of the tunnel,
    ``agent_env`` further environment of the agents.

    ``engine`` runs transform and hooks. The cluster's name is in all names in NetBird, and the nodes say how many
    agents there are and how they call themselves, so they are known; all else may come from other resources.
    """

    cluster: str
    pod_cidr: pulumi.Input[IPv4Network | str]
    service_cidr: pulumi.Input[IPv4Network | str] | None
    nodes: Sequence[str]
    management_url: pulumi.Input[str]
    agent_image: pulumi.Input[str]
    wireguard_port: pulumi.Input[int]
    mtu: pulumi.Input[int]
    agent_env: Mapping[str, pulumi.Input[str]]
    api_token: pulumi.Input[str]
    operator: pulumi.Input[pulumi.Resource]
    waiting: Waiting
    engine: Engine = ENGINE
    generations: Mapping[str, int] = field(default_factory=dict)


def host_network_transform(cluster: str, agent: netbird.Agent, nodes: Sequence[str]) -> Transform:
    """Adds hostNetwork, the router nodes and the lasting identity to the NetworkRouter (its pod template override)."""
    override = alone_on_its_node(netbird.pod_template_override(cluster, agent, nodes), cluster)

    def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if not args.type_.endswith(":NetworkRouter"):
            return None
        spec = cast("dict[str, Any]", args.props["spec"])
        return pulumi.ResourceTransformResult({**args.props, "spec": netbird.with_override(spec, override)}, args.opts)

    return transform


def _network_id(status: dict[str, Any] | None) -> Any:
    """A preview that makes or changes the router, or can't reach the cluster, has no status."""
    return (status or {}).get("networkID") or pulumi.UNKNOWN


class NetbirdRouter(pulumi.ComponentResource):
    """The routing peers of one cluster, one a router node, and the pods and services behind them.

    ``peers`` is {router node: NetBird address}; ``ready`` is done when all are connected and offer these.
    ``claim`` holds the cluster's names in the NetBird account. The resources are called as in NetBird, where the
    cluster's name is in each.
    """

    claim: NetbirdClaim
    peers: pulumi.Output[dict[str, str]]
    ready: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: NetbirdRouterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:netbird:NetbirdRouter", name, {"cluster": args.cluster}, opts)
        cluster = args.cluster
        group_name = overlay.pods_group(cluster)
        zone_name = netbird.dns_zone(cluster)
        instance_name = f"{name}-instance"

        self.claim = NetbirdClaim(
            f"{overlay.router_name(cluster)}-claim",
            cluster=cluster,
            # In the state before anything is in NetBird, so that an interrupted run knows its own again.
            instance=StackInstance(
                instance_name,
                pulumi.ResourceOptions(parent=self, aliases=formerly(instance_name, "netbird-instance")),
            ).instance,
            opts=pulumi.ResourceOptions(parent=self),
        )
        claimed = pulumi.ResourceOptions(parent=self, depends_on=[self.claim])
        group = NetbirdGroup(group_name, name=group_name, opts=claimed)
        zone = NetbirdDnsZone(
            zone_name, name=zone_name, domain=zone_name, group=group.name, opts=pulumi.ResourceOptions(parent=self)
        )
        routers_name = overlay.router_group(cluster)
        routers = NetbirdGroup(routers_name, name=routers_name, owns_peers=True, opts=claimed)
        agent = netbird.Agent(text_of(args.wireguard_port), text_of(args.mtu), args.agent_env)
        manifest = netbird.network_router(cluster, args.agent_image, len(args.nodes))
        router = self._custom_resource(
            manifest,
            WAIT_READY,
            # After the group, so that on destroy no agent is left when its peer goes.
            depends_on=[zone, routers, args.operator],
            transforms=args.engine.transforms(host_network_transform(cluster, agent, args.nodes)),
            hooks=args.engine.hooks(lambda: zone_hooks(zone_name, args.management_url, args.api_token)),
        )
        args.waiting.beside(
            lambda client: waits.operators_router(client, manifest["metadata"]["name"]),
            made=router,
            after=args.operator,
        )
        # Side by side with the router: the operator retries the key until the router's group is there, and the
        # router's pod can't start before the key is.
        key_name = netbird.setup_key_name(cluster)
        watched = NetbirdSetupKey(
            f"{key_name}-setup-key", name=key_name, opts=pulumi.ResourceOptions(parent=self, depends_on=[routers])
        )
        setup_key = self._custom_resource(
            netbird.setup_key(cluster),
            # Not waited for: an operator that was stopped between making the key and saying so never says it (0.8.0),
            # not even that it has seen the object, and then no wait of the engine ends: they all look at the generation
            # first. Whether the key serves is seen by the peer that it lets in.
            {RENEWALS: watched.renewals.apply(str)},
            depends_on=[args.operator, routers, watched],
            replace_on_changes=["spec"],
        )
        patch = old_pod_first(cluster)
        deployment = KubernetesObject(
            patch["metadata"]["name"],
            patch,
            patch=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[router, setup_key],
                # The Deployment goes with the router; giving the fields back first would only restart it.
                retain_on_delete=True,
                custom_timeouts=pulumi.CustomTimeouts(create=MADE_WITHIN, update=MADE_WITHIN),
            ),
        )
        # A preview that can't reach the cluster has no uid.
        uid = router.metadata.apply(lambda metadata: metadata.get("uid", pulumi.UNKNOWN))

        def behind_it(resource: overlay.NetworkResource, group: NetbirdGroup) -> NetbirdNetworkResource:
            return NetbirdNetworkResource(
                f"{resource.name}-resource",
                resource,
                claim=self.claim,
                cluster=cluster,
                network_id=router.status.apply(_network_id),
                group=group.name,
                router_uid=uid,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[router]),
            )

        resources = [behind_it(overlay.pods_resource(cluster, args.pod_cidr), group)]
        if args.service_cidr is not None:
            services = overlay.services_group(cluster)
            services_group = NetbirdGroup(services, name=services, opts=claimed)
            resources.append(behind_it(overlay.services_resource(cluster, args.service_cidr), services_group))
        peers = NetbirdRouterPeers(
            f"{overlay.router_name(cluster)}-peers",
            group=routers.name,
            hostnames=overlay.router_hostnames(cluster, args.nodes),
            router_uid=uid,
            generations=args.generations,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
        )
        self.peers = peers.peers
        self.ready = [peers, *resources]
        self.register_outputs({"peers": self.peers})

    def _custom_resource(
        self,
        manifest: dict[str, Any],
        annotations: Mapping[str, pulumi.Input[str]],
        *,
        depends_on: Sequence[pulumi.Input[pulumi.Resource]],
        transforms: list[Transform] | None = None,
        hooks: pulumi.ResourceHookBinding | None = None,
        replace_on_changes: list[str] | None = None,
    ) -> KubernetesObject:
        metadata = manifest["metadata"]
        return KubernetesObject(
            f"{manifest['kind'].lower()}-{metadata['name']}",
            {**manifest, "metadata": {**metadata, "annotations": annotations}},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(depends_on),
                transforms=transforms,
                hooks=hooks,
                replace_on_changes=replace_on_changes,
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(create=MADE_WITHIN, update=MADE_WITHIN, delete="5m"),
            ),
        )
