"""Where a cluster runs, as its settings say: the one place that knows all the kinds there are.

It joins what ``domain`` renders for a node with the component that brings it to a machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_command as command
import pulumi_hcloud as hcloud

from components.child_names import Children
from components.cluster import Cluster, kubernetes_provider
from components.engine import Engine
from components.existing_cluster import NodeLabels, NodeLabelsArgs, existing_cluster
from components.former_node import API_ADDRESSES, LastUpdate
from components.hetzner import HetznerMachines, HetznerMachinesArgs, HetznerServer
from components.hetzner_leftovers import RemoveLeftovers, StackInstance
from components.hetzner_rebuild import RebuildServers
from components.newcomers import refuse_newer
from components.on_premise import OnPremiseMachine, OnPremiseMachines, OnPremiseMachinesArgs
from components.secrets import Secrets
from components.type_changes import Machine, TypeChanges
from domain.bundle import tar_bundle
from domain.cloud_init import user_data
from domain.keys import ClusterKeys
from domain.leaving import DRAIN_SECONDS
from domain.node_files import NodeFile, k3s_checksum, k3s_url, node_files, settings_digest
from domain.nodes import Node
from domain.places.existing import KUBECONFIG
from domain.places.hetzner.model import HetznerSettings
from domain.places.hetzner.place import HCLOUD_TOKEN
from domain.places.machines import SSH_PRIVATE_KEY
from domain.places.on_premise.model import OnPremiseSettings, SshSettings
from domain.places.outputs import RAISED_WITH, made_anew, nodes_that_run
from domain.places.registry import StackSettings
from domain.plan import AddressPlan


@dataclass(frozen=True)
class RunningCluster:
    """A cluster and the options with which resources are put into it.

    ``in_cluster`` is for what has to be deleted there, because its deletion clears up elsewhere: in NetBird. What is in
    the cluster alone is made with ``goes_with_machines``: a `destroy` that takes the machines does not ask the cluster
    to delete it first, and does not need the cluster for it. Helm's releases need that most, since the Kubernetes
    provider's way past a cluster that is gone (PULUMI_K8S_DELETE_UNREACHABLE) is not for them.
    """

    cluster: Cluster
    in_cluster: pulumi.ResourceOptions
    goes_with_machines: pulumi.ResourceOptions
    ready: list[pulumi.Resource]


def running_cluster(
    settings: StackSettings,
    plan: AddressPlan,
    secrets: Secrets,
    *,
    children: Children,
    last: Mapping[str, Any],
    engine: Engine,
) -> RunningCluster:
    """Raises the machines and k3s on them, or takes the cluster that is there. ``last`` and ``engine`` as of
    :class:`components.joined_cluster.JoinedClusterArgs`.
    """
    match settings:
        case StackSettings(hetzner=HetznerSettings() as hetzner):
            cluster = _at_hetzner(settings, hetzner, plan, secrets, children=children, last=last, engine=engine)
        case StackSettings(on_premise=OnPremiseSettings(ssh=SshSettings() as ssh)):
            cluster = _over_ssh(settings, ssh, plan, secrets, children=children, last=last, engine=engine)
        case StackSettings(on_premise=OnPremiseSettings(kubeconfig=chosen)) if chosen is not None:
            cluster = existing_cluster(secrets.needs(KUBECONFIG), chosen.context)
        case _:
            raise ValueError(f"{settings.stack}: the settings name no machines")
    provider = kubernetes_provider(children.called(settings.stack), cluster, opts=children.options())
    in_cluster = children.options(pulumi.ResourceOptions(providers={"kubernetes": provider}))
    ready = list(cluster.ready)
    if not settings.installs_k3s:
        ready += NodeLabels(children.called("node-labels"), NodeLabelsArgs(plan.nodes), opts=in_cluster).ready
    # The engine hands it down to the children. Without machines of ours it says nothing.
    goes_with_machines = children.options(
        pulumi.ResourceOptions(providers={"kubernetes": provider}, deleted_with=cluster.machines)
    )
    return RunningCluster(cluster, in_cluster, goes_with_machines, ready)


def _at_hetzner(
    settings: StackSettings,
    hetzner: HetznerSettings,
    plan: AddressPlan,
    secrets: Secrets,
    *,
    children: Children,
    last: Mapping[str, Any],
    engine: Engine,
) -> Cluster:
    token = secrets.needs(HCLOUD_TOKEN)
    providers: dict[str, pulumi.ProviderResource] = {
        "hcloud": hcloud.Provider(
            children.called("hcloud"),
            token=token,
            endpoint=settings.hcloud.endpoint,
            poll_interval=settings.hcloud.pollInterval,
            poll_function=settings.hcloud.pollFunction,
            opts=children.options(),
        ),
        "command": command.Provider(children.called("command"), opts=children.options()),
    }

    def server(node: Node) -> HetznerServer:
        def files(keys: ClusterKeys) -> tuple[NodeFile, ...]:
            return node_files(plan, node, settings, keys.k3s_token, keys.node_password(node.name))

        def boot(keys: ClusterKeys) -> str:
            return user_data(files(keys), hostname=node.name, host_key=keys.host_key(node.name))

        return HetznerServer(
            name=node.name,
            role="server" if node.role == "server" else "agent",
            server_type=str(node.server_type),
            address=node.address,
            user_data=secrets.keys.apply(boot),
            host_key=pulumi.Output.unsecret(secrets.keys.apply(lambda keys: keys.host_key(node.name).public)),
            router=node.router,
            pool="" if node.order is None else node.order.pool,
            placement="" if node.order is None else node.order.placement,
            location=None if node.order is None else node.order.location,
            image=None if node.order is None else node.order.image,
            generation=node.generation,
            bundle=secrets.keys.apply(lambda keys: tar_bundle(files(keys))),
            k3s_url=k3s_url(settings, node.architecture),
            k3s_sha256="" if settings.k3s is None else k3s_checksum(settings.k3s, node.architecture),
            settings=settings_digest(plan, node, settings),
        )

    servers = [server(node) for node in plan.nodes]
    leftovers = None
    if engine.calls_back:
        before = LastUpdate.of(settings.stack, last)
        leftovers = RemoveLeftovers(
            StackInstance(children.called("instance"), children.options()).instance,
            token,
            settings.hcloud.endpoint,
            before,
            may_be_made=refuse_newer(
                before,
                [node.name for node in plan.servers],
                "" if settings.k3s is None else settings.k3s.version,
            ),
            may_be_changed=TypeChanges(
                before, {its.name: Machine(its.group, its.role == "server", its.router) for its in servers}
            ).before_update,
        )
    machines = HetznerMachines(
        children.called("machines"),
        HetznerMachinesArgs(
            cluster=settings.stack,
            begun=RAISED_WITH in last,
            location=hetzner.location,
            network_zone=hetzner.network_zone,
            network_cidr=hetzner.network_cidr,
            node_cidr=plan.node_cidr,
            image=hetzner.image,
            servers=servers,
            api_allowed_cidrs=hetzner.api_allowed_cidrs,
            ssh_allowed_cidrs=hetzner.ssh_allowed_cidrs,
            wireguard_port=settings.netbird.wireguard_port,
            ssh_public_key=pulumi.Output.unsecret(secrets.keys.apply(lambda keys: keys.ssh_public_key)),
            ssh_private_key=secrets.keys.apply(lambda keys: keys.ssh_private_key),
            labels=hetzner.labels,
            delete_protection=hetzner.delete_protection,
            leftovers=leftovers,
            rebuild=RebuildServers(token, settings.hcloud.endpoint) if engine.calls_back else None,
            k3s_version=settings.k3s.version if settings.k3s is not None else "",
            ran=[*nodes_that_run(last)],
            drain_seconds=_drain_seconds(settings),
        ),
        opts=children.options(pulumi.ResourceOptions(providers=providers)),
    )
    return machines.cluster


def _over_ssh(
    settings: StackSettings,
    ssh: SshSettings,
    plan: AddressPlan,
    secrets: Secrets,
    *,
    children: Children,
    last: Mapping[str, Any],
    engine: Engine,
) -> Cluster:
    def machine(node: Node) -> OnPremiseMachine:
        def bundle(keys: ClusterKeys) -> bytes:
            return tar_bundle(node_files(plan, node, settings, keys.k3s_token, keys.node_password(node.name)))

        return OnPremiseMachine(
            name=node.name,
            role="server" if node.role == "server" else "agent",
            address=str(node.address),
            host_key=str(node.host_key),
            bundle=secrets.keys.apply(bundle),
            router=node.router,
            generation=node.generation,
            k3s_url=k3s_url(settings, node.architecture),
            k3s_sha256="" if settings.k3s is None else k3s_checksum(settings.k3s, node.architecture),
            settings=settings_digest(plan, node, settings),
        )

    provider = command.Provider(children.called("command"), opts=children.options())
    machines = OnPremiseMachines(
        children.called("machines"),
        OnPremiseMachinesArgs(
            cluster=settings.stack,
            begun=RAISED_WITH in last,
            machines=[machine(node) for node in plan.nodes],
            user=ssh.user,
            port=ssh.port,
            private_key=secrets.needs(SSH_PRIVATE_KEY),
            engine=engine,
            drain_seconds=_drain_seconds(settings),
            k3s_version=settings.k3s.version if settings.k3s is not None else "",
            ran=[*nodes_that_run(last)],
            raised=made_anew(last, plan.nodes),
            last=LastUpdate.of(settings.stack, {**last, API_ADDRESSES: [str(node.address) for node in plan.servers]}),
        ),
        opts=children.options(pulumi.ResourceOptions(providers={"command": provider})),
    )
    return machines.cluster


def _drain_seconds(settings: StackSettings) -> int:
    return settings.k3s.drain_seconds if settings.k3s is not None else DRAIN_SECONDS
