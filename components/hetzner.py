"""Machines at Hetzner Cloud: private network, firewall, placement group, SSH key, and servers that make themselves
nodes.

It owns the Hetzner resources and the kubeconfig of what runs on them. What a server does at its first boot is
rendered by ``domain`` and comes in as user data. Hetzner's words: https://docs.hetzner.cloud
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final, Literal

import pulumi
import pulumi_hcloud as hcloud

from components.cluster import Cluster, Shell
from components.hetzner_leftovers import RemoveLeftovers
from components.hetzner_rebuild import RebuildServers, RebuiltServer
from components.inputs import text_of
from components.k3s_cluster import K3sCluster
from components.machine_shell import MachineShell
from components.node_generation import Generations, Remade
from components.node_member import Member
from components.ssh_reachable import SSH_PORT, SshWait, ssh_hooks
from domain.leaving import DRAIN_SECONDS, Part
from domain.names import API_PORT, INSTALL_LOG
from domain.nodes import FIRST_GENERATION
from domain.places.hetzner.nodes import placement_group

SSH_SECONDS: Final = 600.0
"""From a server's creation to its SSH server."""
ANYWHERE: Final = ["0.0.0.0/0", "::/0"]


@dataclass(frozen=True)
class HetznerServer:
    """One server. ``user_data`` is secret: it carries the server's own host key and the k3s token. ``role`` is that of
    its node, ``router`` whether that carries a link, ``generation`` as of :mod:`domain.generation`. ``pool`` is the
    pool that it is of, ``placement`` the placement group, behind the cluster's name; both are empty for those of
    control plane and workers. These and the name say what there is, so they are known; all else may come from other
    resources. ``location`` and ``image`` are those of all servers where it has none of its own. ``bundle`` are the
    files of its node, as they are brought to a server that runs, and secret as well; ``k3s_url`` and ``k3s_sha256`` say
    where its k3s is, ``settings`` with which it is started, as of :func:`domain.node_files.settings_digest`; they say
    what there is as well.
    """

    name: str
    role: Literal["server", "agent"]
    server_type: pulumi.Input[str]
    address: pulumi.Input[IPv4Address | str]
    user_data: pulumi.Input[str]
    host_key: pulumi.Input[str]
    router: bool = False
    pool: str = ""
    placement: str = ""
    location: pulumi.Input[str] | None = None
    image: pulumi.Input[str] | None = None
    generation: int = FIRST_GENERATION
    bundle: pulumi.Input[bytes] = b""
    k3s_url: pulumi.Input[str] = ""
    k3s_sha256: pulumi.Input[str] = ""
    settings: str = ""

    @property
    def group(self) -> str:
        """Of which one is changed after the other."""
        return self.pool or self.role


@dataclass(frozen=True)
class HetznerMachinesArgs:
    """``servers``: the first one with role ``server`` begins the cluster and is asked for the kubeconfig. ``begun``
    as of :func:`components.cluster_start.allow_start`. ``delete_protection`` is an option of the engine as well, and
    ``ssh_allowed_cidrs`` stand in a message, so they are known. ``drain_seconds``: how long the pods of a node that
    leaves may take to go. ``rebuild`` makes servers anew; None under mocks. ``k3s_version`` is what they are to
    run, ``ran`` are the names of those that the last update left as nodes.
    """

    cluster: str
    begun: bool
    location: pulumi.Input[str]
    network_zone: pulumi.Input[str]
    network_cidr: pulumi.Input[IPv4Network | str]
    node_cidr: pulumi.Input[IPv4Network | str]
    image: pulumi.Input[str]
    servers: Sequence[HetznerServer]
    api_allowed_cidrs: Sequence[pulumi.Input[IPv4Network | str]]
    ssh_allowed_cidrs: Sequence[IPv4Network]
    wireguard_port: pulumi.Input[int]
    ssh_public_key: pulumi.Input[str]
    ssh_private_key: pulumi.Input[str]
    labels: Mapping[str, pulumi.Input[str]]
    delete_protection: bool
    leftovers: RemoveLeftovers | None
    drain_seconds: pulumi.Input[int] = DRAIN_SECONDS
    rebuild: RebuildServers | None = None
    k3s_version: pulumi.Input[str] = ""
    ran: Collection[str] = ()


class HetznerMachines(pulumi.ComponentResource):
    """The machines of one cluster at Hetzner Cloud. Needs the providers for hcloud and command in its options."""

    cluster: Cluster

    def __init__(self, name: str, args: HetznerMachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:hetzner:HetznerMachines", name, {"cluster": args.cluster}, opts)
        self._args = args
        self._own_name = name
        prefix = f"isthmus-{args.cluster}"
        labels: dict[str, pulumi.Input[str]] = {**args.labels, "isthmus-cluster": args.cluster}
        if args.leftovers is not None:
            labels = {**labels, **args.leftovers.labels}

        network = hcloud.Network(
            prefix,
            name=prefix,
            ip_range=text_of(args.network_cidr),
            labels=labels,
            delete_protection=args.delete_protection,
            opts=self._options("networks", protect=args.delete_protection),
        )
        network_id = network.id.apply(int)
        subnet = hcloud.NetworkSubnet(
            prefix,
            network_id=network_id,
            type="cloud",
            network_zone=args.network_zone,
            ip_range=text_of(args.node_cidr),
            opts=self._options("subnets"),
        )
        firewall = hcloud.Firewall(
            prefix,
            name=prefix,
            labels=labels,
            rules=firewall_rules(args.api_allowed_cidrs, args.ssh_allowed_cidrs, args.wireguard_port),
            opts=self._options("firewalls"),
        )
        placements = {
            placement: hcloud.PlacementGroup(
                name, name=name, type="spread", labels=labels, opts=self._options("placement_groups")
            )
            for placement in dict.fromkeys(["", *(server.placement for server in args.servers)])
            for name in [placement_group(args.cluster, placement)]
        }
        ssh_key = hcloud.SshKey(
            prefix, name=prefix, public_key=args.ssh_public_key, labels=labels, opts=self._options("ssh_keys")
        )

        servers: list[hcloud.Server] = []
        control_plane: list[tuple[HetznerServer, hcloud.Server]] = []
        last: dict[str, hcloud.Server] = {}
        for server in args.servers:
            made = hcloud.Server(
                server.name,
                name=server.name,
                server_type=server.server_type,
                image=args.image if server.image is None else server.image,
                location=args.location if server.location is None else server.location,
                user_data=pulumi.Output.secret(server.user_data),
                ssh_keys=[ssh_key.id],
                firewall_ids=[firewall.id.apply(int)],
                placement_group_id=placements[server.placement].id.apply(int),
                networks=[hcloud.ServerNetworkArgs(network_id=network_id, ip=text_of(server.address), alias_ips=[])],
                public_nets=[hcloud.ServerPublicNetArgs(ipv4_enabled=True, ipv6_enabled=False)],
                labels=labels,
                delete_protection=args.delete_protection,
                rebuild_protection=args.delete_protection,
                opts=self._options(
                    "servers",
                    protect=args.delete_protection,
                    # A private address can only be asked for in a subnet that exists. And of each group one goes after
                    # the other: a changed type switches a server off.
                    depends_on=[subnet, *([last[server.group]] if server.group in last else [])],
                    # These are for the first boot. A change would replace a running node, and its data with it.
                    ignore_changes=["user_data", "ssh_keys", "image"],
                    custom_timeouts=pulumi.CustomTimeouts(create="30m", delete="15m"),
                ),
            )
            servers.append(made)
            last[server.group] = made
            if server.role == "server":
                control_plane.append((server, made))

        (beginner, machine), *joining = control_plane
        waited = SshWait(
            beginner.name,
            SSH_SECONDS,
            "look at the server's console at Hetzner, and whether hetzner.ssh_allowed_cidrs "
            f"({', '.join(map(str, args.ssh_allowed_cidrs))}) holds the public address that you come from, which a NAT "
            "may have changed since",
        )
        hooks = None if args.leftovers is None else ssh_hooks(name, machine.ipv4_address, SSH_PORT, waited)
        shell = Shell(machine.ipv4_address, args.ssh_private_key, beginner.host_key)
        k3s = K3sCluster(self, name, args.cluster, shell, several=bool(joining))
        others = [made.ipv4_address for _, made in joining]
        # Those that join it may not be made yet.
        begins = k3s.begins(begun=args.begun, hooks=hooks, after=[machine])
        members = [
            Member(
                Part(server.name, server.role == "server", server.router),
                made,
                made.ipv4_address if server.role == "server" else None,
            )
            for server, made in zip(args.servers, servers, strict=True)
        ]
        self.cluster = k3s.joined(
            members,
            fetched_again_with=machine.id,
            others=others if args.leftovers else [],
            hooks=hooks,
            # On all of them, so that what is in the cluster goes before its machines do.
            after=[*servers, *begins],
            drain_seconds=args.drain_seconds,
            made_here=True,
            addresses=[machine.ipv4_address, *others],
            generations=Generations(
                [
                    Remade(
                        member.node,
                        server.generation,
                        server.name in args.ran,
                        member.machine,
                        member.address,
                        self._rebuild(server, made),
                        self._shell(server, made),
                        server.settings,
                    )
                    for member, server, made in zip(members, args.servers, servers, strict=True)
                ],
                version=args.k3s_version,
                where=f"{INSTALL_LOG} there may say why.",
                calls_back=args.rebuild is not None,
            ),
        )
        self.register_outputs({"kubeconfig": self.cluster.kubeconfig})

    def _rebuild(self, server: HetznerServer, made: hcloud.Server) -> Callable[[], Awaitable[RebuiltServer]]:
        args = self._args

        async def later() -> RebuiltServer:
            if args.rebuild is None:
                raise ValueError(f"{server.name}: nobody is there to rebuild it")
            image = args.image if server.image is None else server.image
            return await args.rebuild.later(made.id, image, server.user_data)

        return later

    def _shell(self, server: HetznerServer, made: hcloud.Server) -> Callable[[], Awaitable[MachineShell]]:
        found = pulumi.Output.all(
            made.ipv4_address,
            server.host_key,
            self._args.ssh_private_key,
            server.bundle,
            server.k3s_url,
            server.k3s_sha256,
        )

        async def later() -> MachineShell:
            known = await found.future()
            if known is None:
                raise ValueError(f"{server.name}: not all is known of it")
            return MachineShell(server.name, *known)

        return later

    def _options(
        self,
        kind: str,
        *,
        protect: bool | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        ignore_changes: Sequence[str] = (),
        custom_timeouts: pulumi.CustomTimeouts | None = None,
    ) -> pulumi.ResourceOptions:
        leftovers = self._args.leftovers
        return pulumi.ResourceOptions(
            parent=self,
            protect=protect or None,
            depends_on=list(depends_on),
            ignore_changes=list(ignore_changes) or None,
            custom_timeouts=custom_timeouts,
            hooks=leftovers.binding(self._own_name, kind) if leftovers is not None else None,
        )


def firewall_rules(
    api_allowed: Sequence[pulumi.Input[IPv4Network | str]],
    ssh_allowed: Sequence[IPv4Network],
    wireguard_port: pulumi.Input[int],
) -> list[hcloud.FirewallRuleArgs]:
    """What may come in on the public addresses; everything may go out. The private network is not filtered by Hetzner.

    NetBird works without an open port, but with one a peer behind a NAT finds the direct way more often.
    """

    def allow(
        description: str, protocol: str, port: pulumi.Input[int] | None, sources: Sequence[pulumi.Input[str]]
    ) -> hcloud.FirewallRuleArgs:
        return hcloud.FirewallRuleArgs(
            description=description,
            direction="in",
            protocol=protocol,
            port=None if port is None else text_of(port),
            source_ips=list(sources),
        )

    rules = [
        allow("ping", "icmp", None, ANYWHERE),
        allow("NetBird's WireGuard", "udp", wireguard_port, ANYWHERE),
    ]
    # Hetzner refuses a rule without sources; no sources means that nobody may.
    if api_allowed:
        rules.append(allow("Kubernetes API", "tcp", API_PORT, [text_of(source) for source in api_allowed]))
    if ssh_allowed:
        rules.append(allow("SSH", "tcp", SSH_PORT, [str(source) for source in ssh_allowed]))
    return rules
