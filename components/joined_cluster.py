"""One cluster as one component: its machines, network, router, links and names, in the order in which they stand on
each other.

It tells the story and owns no rule: what differs between clusters is in the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components import router_moves, waits
from components.child_names import Children
from components.cilium import RELEASE as CILIUM_RELEASE
from components.cilium import Cilium, CiliumArgs
from components.dns import ClusterDns, ClusterDnsArgs
from components.dns_relay import DnsRelay, DnsRelayArgs
from components.egress_gateway import EgressGateway, EgressGatewayArgs
from components.engine import ENGINE, Engine
from components.foreign_keys import ForeignKeys
from components.former_node import API_ADDRESSES
from components.guard import Guard, GuardArgs
from components.helm_records import RecoverRelease
from components.keeper import Keeper, KeeperArgs
from components.keeper_program import program
from components.link_output import link_output, offers_output
from components.machines import running_cluster
from components.netbird_operator import RELEASE as OPERATOR_RELEASE
from components.netbird_operator import NetbirdOperator, NetbirdOperatorArgs
from components.netbird_router import NetbirdRouter, NetbirdRouterArgs
from components.node_watch import watch_nodes
from components.peer_link import LINKS_OUTPUT, PeerLink
from components.reachability import warn_if_unreachable
from components.secrets import Secrets
from components.waiting import Waiting
from domain import cilium_values, corefile, netbird
from domain.changes import raised_with
from domain.egress_policy import egress_policy_name
from domain.generation import raised
from domain.guard import guarded_ranges
from domain.keeper import KEEPER_OUTPUT, keeper_config, keeper_output
from domain.link import LINK_OUTPUT, OFFERS_OUTPUT
from domain.places.outputs import RAISED_WITH, generations_noted, k3s_noted, made_anew
from domain.places.registry import StackSettings
from domain.plan import address_plan
from domain.version import PROGRAM, program_output


@dataclass(frozen=True)
class JoinedClusterArgs:
    """``settings`` have passed every check. ``secrets``: what they need. ``peers`` are those of the settings, as their
    own outputs have them. All of it decides what there is, so it is known; only secrets may come from other resources.

    ``last`` are the outputs of this cluster's last update, empty before the first. ``namespace_stays`` as of
    :func:`components.netbird_operator.operators_namespace_stays`. ``engine`` is who calls back. ``bare_names``: the
    children go without the component's name, as in programs that had no such component; one in a program can.
    """

    settings: StackSettings
    secrets: Secrets
    peers: Sequence[PeerLink] = ()
    last: Mapping[str, Any] = field(default_factory=dict, repr=False)
    namespace_stays: bool = False
    engine: Engine = ENGINE
    bare_names: bool = False


class JoinedCluster(pulumi.ComponentResource):
    """One cluster and its ends of the links to its peers: machines with k3s (or a cluster that is there), Cilium,
    NetBird's operator and routers, and with peers the guard, the keepers, an egress gateway a link and the DNS relay.

    ``outputs`` is what its stack says of it: ``link`` and others, which peers read, and ``kubeconfig``, which is
    secret.
    """

    outputs: Mapping[str, Any]

    def __init__(self, name: str, args: JoinedClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:joined_cluster:JoinedCluster", name, {"cluster": args.settings.stack}, opts)
        settings, secrets, peers, engine = args.settings, args.secrets, args.peers, args.engine
        plan = address_plan(settings)
        children = Children(self, name, args.bare_names)
        running = running_cluster(settings, plan, secrets, children=children, last=args.last, engine=engine)
        cluster, in_cluster = running.cluster, running.in_cluster
        if engine.calls_back or pulumi.runtime.is_dry_run():
            warn_if_unreachable(cluster.kubeconfig, cluster.context)
        if engine.calls_back and settings.installs_k3s:
            # Machines that the program makes install k3s at their first boot.
            first_boot = not settings.place.lan
            # Those that are made anew are waited for one by one.
            anew = made_anew(args.last, plan.nodes)
            others = [node for node in plan.nodes if node.name not in anew]
            settled = settings.k3s is not None and k3s_noted(args.last) == settings.k3s.version
            settled = settled and generations_noted(args.last) is not None
            watch_nodes(
                cluster.kubeconfig, cluster.context, settings.stack, others, first_boot=first_boot, settled=settled
            )

        waiting = Waiting(settings.stack, cluster.kubeconfig, cluster.context, active=engine.calls_back)

        def recover(release: str, namespace: str) -> RecoverRelease | None:
            return (
                RecoverRelease(release, namespace, cluster.kubeconfig, cluster.context) if engine.calls_back else None
            )

        values = cilium_values.cilium_values(plan, settings)
        cilium = Cilium(
            children.called("cilium"),
            CiliumArgs(
                version=settings.cilium.version,
                values=values,
                mirror=settings.mirrors.charts,
                recover=recover(CILIUM_RELEASE, cilium_values.NAMESPACE),
                waiting=waiting,
                after=running.ready,
            ),
            opts=running.goes_with_machines,
        )
        operator = NetbirdOperator(
            children.called("netbird-operator"),
            NetbirdOperatorArgs(
                cluster=settings.stack,
                version=settings.netbird.operator_version,
                management_url=settings.netbird.management_url,
                agent_image=settings.netbird.agent_image,
                api_token=secrets.netbird_api_token,
                mirror=settings.mirrors.charts,
                recover=recover(OPERATOR_RELEASE, netbird.NAMESPACE),
                namespace_stays=args.namespace_stays,
                waiting=waiting,
                after=[cilium.ready],
            ),
            opts=running.goes_with_machines,
        )
        routers = [node.name for node in plan.routers]
        router = NetbirdRouter(
            children.called("router"),
            NetbirdRouterArgs(
                cluster=settings.stack,
                pod_cidr=plan.pod_cidr,
                service_cidr=plan.service_cidr if settings.link.cluster_ips else None,
                nodes=routers,
                management_url=settings.netbird.management_url,
                agent_image=settings.netbird.agent_image,
                wireguard_port=settings.netbird.wireguard_port,
                mtu=settings.netbird.mtu,
                agent_env=settings.netbird.agent_env,
                api_token=secrets.netbird_api_token,
                operator=waiting.until(
                    lambda client, _: router_moves.routers_in_place(client, settings.stack, routers),
                    after=operator.ready,
                ),
                waiting=waiting,
                engine=engine,
                generations=raised(plan.routers),
            ),
            opts=in_cluster,
        )

        links = [peer.link for peer in peers if peer.link is not None]
        keeper_port = settings.keeper.port if settings.keeper.enabled else None
        keepers: pulumi.Input[pulumi.Resource] | None = None
        # The keepers of a peer that does not know our routers yet don't answer ours.
        knowing = {peer.peer for peer in peers if peer.links_back}
        peers_keepers = {peer.peer: None if keeper_port is None else peer.keeper_port for peer in peers}
        if peers:
            # With what is linked, so that a peer that goes leaves nothing on the nodes.
            guard = Guard(
                children.called("guard"),
                GuardArgs(
                    ranges=guarded_ranges(links),
                    pod_cidr=plan.pod_cidr,
                    service_cidr=plan.service_cidr,
                    image=settings.netbird.agent_image,
                    after=[cilium.ready],
                    keeper_port=keeper_port,
                ),
                opts=running.goes_with_machines,
            )
            guards = waiting.until(lambda client, _: waits.guards(client), after=guard.there)
        if peers and keeper_port is not None:
            keeper = Keeper(
                children.called("keeper"),
                KeeperArgs(
                    image=settings.keeper.image,
                    config=keeper_config(plan, keeper_port, links, peers_keepers, metrics=settings.keeper.metrics),
                    program=program(),
                    policies=[egress_policy_name(link.cluster) for link in links],
                    api=cilium_values.api_address(values),
                    agents=netbird.NAMESPACE,
                    after=[cilium.ready, operator.ready],
                ),
                opts=running.goes_with_machines,
            )
            # No link stands on it: it is there without its keepers.
            keepers = waiting.until(waits.keepers, after=keeper.there, values=keeper.told)
        gateways = [
            EgressGateway(
                children.called(f"to-{link.cluster}"),
                EgressGatewayArgs(
                    cluster=settings.stack,
                    claim=router.claim,
                    link=link,
                    routers=routers,
                    own_peers=router.peers,
                    router=router.ready,
                    guards=guards,
                    waiting=waiting,
                    management_url=settings.netbird.management_url,
                    api_token=secrets.netbird_api_token,
                    keeper_port=peers_keepers[link.cluster],
                    keepers=keepers if link.cluster in knowing else None,
                ),
                opts=in_cluster,
            )
            for link in links
        ]
        if links:
            waiting.until(
                lambda client, _: router_moves.policies_settled(client, settings.stack, routers),
                after=gateways[0].policy,
                beside=[gateway.policy for gateway in gateways[1:]],
            )
            DnsRelay(
                children.called("dns-relay"),
                DnsRelayArgs(
                    corefile=corefile.relay_corefile(
                        zone=plan.dns_zone,
                        cluster_dns=plan.cluster_dns,
                        pod_cidr=plan.pod_cidr,
                        node_cidr=plan.node_cidr,
                        peers=[corefile.PeerZone(link.dns_zone, link.router_addresses) for link in links],
                    ),
                    front=corefile.front_corefile(
                        [link.dns_zone for link in links], [node.address for node in plan.routers]
                    )
                    if len(routers) > 1
                    else None,
                    image=settings.dns.relay_image,
                    agent_image=settings.netbird.agent_image,
                    service_ip=plan.relay_service_ip,
                    waiting=waiting,
                    after=[*router.ready, guards],
                ),
                opts=running.goes_with_machines,
            )
        ClusterDns(
            children.called("dns"),
            ClusterDnsArgs(
                zones=corefile.custom_zones(
                    plan.dns_zone,
                    [
                        corefile.LinkedZone(link.cluster, link.dns_zone, (link.pod_cidr, link.service_cidr))
                        for link in links
                    ],
                    plan.relay_service_ip,
                    settings.dns,
                    front=len(routers) > 1,
                ),
                others=ForeignKeys(cluster.kubeconfig, cluster.context) if engine.calls_back else None,
                after=[cilium.ready],
            ),
            opts=running.goes_with_machines,
        )

        for peer in peers:
            (pulumi.log.info if peer.link else pulumi.log.warn)(f"{peer.peer}: {peer.message}")
        self.outputs = {
            LINK_OUTPUT: link_output(plan, router.peers),
            OFFERS_OUTPUT: offers_output(settings),
            KEEPER_OUTPUT: keeper_output(keeper_port if peers else None),
            LINKS_OUTPUT: {peer.peer: peer.status for peer in peers},
            # Not before a node that is made anew is back, and not where one is not.
            RAISED_WITH: pulumi.Output.all(*(resource.urn for resource in cluster.ready)).apply(
                lambda _: raised_with(settings)
            ),
            PROGRAM: program_output(),
            "kubeconfig": pulumi.Output.secret(cluster.kubeconfig),
            **({API_ADDRESSES: cluster.addresses} if cluster.addresses else {}),
            "node_ips": {node.name: str(node.address) for node in plan.nodes},
            "router_peers": router.peers,
        }
        self.register_outputs(dict(self.outputs))
