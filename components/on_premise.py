"""Machines that exist already: k3s put on them over SSH, or a cluster that somebody else runs, given by its kubeconfig.

It owns what Isthmus puts on those machines, not the machines. What that is comes from ``domain`` as one deterministic
tar archive a machine: the same settings give the same bytes, so an ``up`` without changes does nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from posixpath import dirname
from typing import Final, Literal

import pulumi
import pulumi_command as command

from components.child_names import formerly
from components.cluster import Cluster, Shell
from components.engine import ENGINE, Engine
from components.former_node import LastUpdate
from components.inputs import text_of
from components.k3s_cluster import K3sCluster
from components.k3s_install import INSTALL, UNINSTALL_SECONDS, UPDATE
from components.machine_shell import MachineShell
from components.newcomers import refuse_newer
from components.node_generation import SETTLE_SECONDS, Generations, Remade
from components.node_member import Member
from components.reinstalled import ReinstalledMachine
from components.ssh_reachable import SshWait, ssh_hooks
from domain.leaving import DRAIN_SECONDS, Part
from domain.names import INSTALL_SCRIPT, UNINSTALL_SCRIPT
from domain.nodes import FIRST_GENERATION

SSH_SECONDS: Final = 300.0
"""For a machine that exists. It may just boot, and what goes on beside it has the time to get done."""
DIALS: Final = 10
"""After that wait: the machine is there, or it is not."""
AGENTS_AT_ONCE: Final = 3
"""How many agents are installed or restarted beside each other. One that is away holds up the third part of those
behind it, and no other.
"""
WHERE: Final = "`journalctl -u k3s -u k3s-agent` there may say why."
LEAVES: Final = f"{dirname(INSTALL_SCRIPT)}/leaves"
"""Says on a machine that it is to leave."""
LEAVE: Final = f"timeout 60 cat >/dev/null || true; if [ -d {dirname(LEAVES)} ]; then touch {LEAVES}; fi"
"""It reads the archive to its end, as every command does that is given one: what has ended well before all was sent to
it may have failed for the command provider, which says `EOF: running ...` (golang.org/x/crypto/ssh, ``Session.stdin``).
"""
UNINSTALL: Final = f"if [ -e {LEAVES} ]; then exec timeout -k 30 {UNINSTALL_SECONDS} {UNINSTALL_SCRIPT}; fi"
"""Only of a machine that was told to leave: an earlier version of this program knows no such resource, and would delete
it with the cluster still there.
"""


@dataclass(frozen=True)
class OnPremiseMachine:
    """One machine. ``bundle`` is the tar archive with its files; it is secret, because the k3s token is in it. Name and
    role say what there is and in which order, and so do ``router``, whether its node carries a link, and
    ``generation``, as of :mod:`domain.generation`: they are known. ``k3s_url`` and ``k3s_sha256`` say which binary it
    is to run, ``settings`` as of :class:`components.node_upgrade.Upgrade`. All else may come from other resources.
    """

    name: str
    role: Literal["server", "agent"]
    address: pulumi.Input[IPv4Address | str]
    host_key: pulumi.Input[str]
    bundle: pulumi.Input[bytes]
    router: bool = False
    generation: int = FIRST_GENERATION
    k3s_url: pulumi.Input[str] = ""
    k3s_sha256: pulumi.Input[str] = ""
    settings: str = ""


@dataclass(frozen=True)
class OnPremiseMachinesArgs:
    """``machines``: the first one with role ``server`` begins the cluster; ``begun`` as of
    :func:`components.cluster_start.allow_start`, ``engine`` runs the hooks. ``drain_seconds``: how long the pods of a
    node that leaves may take to go. User, port and key may come from other resources; how many machines there are is
    known, and so is the cluster's name, which names the kubeconfig's context. ``k3s_version``, known too, is what they
    are to run, ``ran`` are the names of those that the last update left as nodes, ``raised`` of those whose generation
    is higher than it left it, and ``last`` is what it left of the cluster.
    """

    cluster: str
    begun: bool
    machines: Sequence[OnPremiseMachine]
    user: pulumi.Input[str]
    port: pulumi.Input[int]
    private_key: pulumi.Input[str]
    engine: Engine = ENGINE
    drain_seconds: pulumi.Input[int] = DRAIN_SECONDS
    k3s_version: str = ""
    ran: Collection[str] = ()
    raised: Collection[str] = ()
    last: LastUpdate | None = None


class OnPremiseMachines(pulumi.ComponentResource):
    """k3s on machines that are reached by SSH. Needs the command provider in its options."""

    cluster: Cluster

    def __init__(self, name: str, args: OnPremiseMachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:on_premise:OnPremiseMachines", name, {"cluster": args.cluster}, opts)
        self._own_name = name
        self._bindings: dict[str, pulumi.ResourceHookBinding | None] = {}
        servers = [machine for machine in args.machines if machine.role == "server"]
        agents = [machine for machine in args.machines if machine.role == "agent"]

        # Agents leave first, and all of them after what is in the cluster.
        of_servers = {machine.name: self._uninstall(args, machine, after=[]) for machine in servers}
        removals = of_servers | {
            machine.name: self._uninstall(args, machine, after=list(of_servers.values())) for machine in agents
        }
        # Which begins the cluster, where there is none; it is asked for the kubeconfig, which leads to any that lives.
        beginner, *joining = servers
        shell = _shell(args, beginner)
        k3s = K3sCluster(self, name, args.cluster, shell, several=bool(joining))
        begins = k3s.begins(begun=args.begun, hooks=self._hooks(args, beginner), after=[removals[beginner.name]])
        # One server after the other, or a restart would take etcd its majority; then the agents. An agent that is away
        # holds up few others, and nothing that is in the cluster.
        first = latest = self._install(args, beginner, after=[removals[beginner.name], *begins])
        installed = {beginner.name: first}
        for machine in joining:
            latest = installed[machine.name] = self._install(args, machine, after=[removals[machine.name], latest])
        lanes: list[pulumi.Resource] = [latest] * AGENTS_AT_ONCE
        for index, machine in enumerate(agents):
            lane = index % AGENTS_AT_ONCE
            lanes[lane] = installed[machine.name] = self._install(
                args, machine, after=[removals[machine.name], lanes[lane]]
            )

        members = [
            Member(
                Part(machine.name, machine.role == "server", machine.router),
                # What takes k3s off it. What put it there may have failed, of a machine that is away.
                removals[machine.name],
                text_of(machine.address) if machine.role == "server" else None,
            )
            for machine in args.machines
        ]
        self.cluster = k3s.joined(
            members,
            fetched_again_with=first.id,
            others=[text_of(machine.address) for machine in joining] if args.engine.calls_back else [],
            after=[first, *removals.values()],
            drain_seconds=args.drain_seconds,
            made_here=False,
            generations=Generations(
                [
                    self._remade(args, machine, member, installed[machine.name], after=[latest])
                    for machine, member in zip(args.machines, members, strict=True)
                ],
                version=args.k3s_version,
                where=WHERE,
                calls_back=args.engine.calls_back,
                settle_seconds=SETTLE_SECONDS,
            ),
        )
        self.register_outputs({"kubeconfig": self.cluster.kubeconfig})

    def _remade(
        self,
        args: OnPremiseMachinesArgs,
        machine: OnPremiseMachine,
        member: Member,
        installs: command.remote.Command,
        *,
        after: Sequence[pulumi.Resource],
    ) -> Remade:
        """What is done to a node that runs comes after what installs all servers and the machine itself, and says
        whether it has left anything to do. What is in the cluster comes after the servers, whose API it needs, and
        after what is made anew; a worker that is away holds up only those behind it.
        """
        raised = machine.name in args.raised
        return Remade(
            member.node,
            machine.generation,
            ran=machine.name in args.ran,
            machine=member.machine,
            address=member.address,
            found=_again(args, machine),
            shell=_logged_in(args, machine),
            settings=machine.settings,
            raised=raised,
            after=after,
            laid=pulumi.Output.unsecret(installs.stdout.apply(left_to_do)),
            awaited=raised or machine.role == "server",
        )

    def _hooks(self, args: OnPremiseMachinesArgs, machine: OnPremiseMachine) -> pulumi.ResourceHookBinding | None:
        if machine.name not in self._bindings:
            waited = SshWait(
                machine.name,
                SSH_SECONDS,
                "start the machine, or take it out of on_premise.machines; with `pulumi up --continue-on-error` it "
                "holds up the machines that come after it, and nothing else",
            )
            self._bindings[machine.name] = args.engine.hooks(lambda: self._binding(args, machine, waited))
        return self._bindings[machine.name]

    def _binding(
        self, args: OnPremiseMachinesArgs, machine: OnPremiseMachine, waited: SshWait
    ) -> pulumi.ResourceHookBinding:
        name = self._own_name
        binding = ssh_hooks(name, text_of(machine.address), args.port, waited)
        if args.last is not None and machine.role == "agent":
            servers = [machine.name for machine in args.machines if machine.role == "server"]
            refuse = refuse_newer(args.last, servers, args.k3s_version, prefix=f"{name}-")
            binding.before_create = [
                pulumi.ResourceHook(f"{name}-newest-{machine.name}", refuse),
                *(binding.before_create or []),
            ]
        return binding

    def _install(
        self, args: OnPremiseMachinesArgs, machine: OnPremiseMachine, *, after: Sequence[pulumi.Resource]
    ) -> command.remote.Command:
        bundle: pulumi.Output[bytes] = pulumi.Output.secret(machine.bundle)
        return self._command(
            args,
            machine,
            machine.name,
            install=INSTALL,
            update=UPDATE,
            delete=LEAVE,
            stdin=bundle.apply(lambda archive: base64.b64encode(archive).decode()),
            opts=pulumi.ResourceOptions(
                depends_on=list(after),
                custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m", delete="15m"),
                hooks=self._hooks(args, machine),
            ),
        )

    def _uninstall(
        self, args: OnPremiseMachinesArgs, machine: OnPremiseMachine, *, after: Sequence[pulumi.Resource]
    ) -> command.remote.Command:
        """Runs when the machine leaves, after the deletion of what installed it, and never before. It is a resource of
        its own because what is in the cluster has to go before its machines, and yet must not wait for all of them to
        be there.
        """
        return self._command(
            args,
            machine,
            f"{machine.name}-uninstall",
            delete=UNINSTALL,
            opts=pulumi.ResourceOptions(depends_on=list(after), custom_timeouts=pulumi.CustomTimeouts(delete="15m")),
        )

    def _command(
        self,
        args: OnPremiseMachinesArgs,
        machine: OnPremiseMachine,
        name: str,
        *,
        install: str | None = None,
        update: str | None = None,
        delete: str,
        stdin: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions,
    ) -> command.remote.Command:
        """What is run on a machine as root. Earlier programs called the resource by ``name`` alone."""
        shell = _shell(args, machine)
        resource_name = f"{self._own_name}-{name}"
        common = pulumi.ResourceOptions(
            parent=self, additional_secret_outputs=["stdout", "stderr"], aliases=formerly(resource_name, name)
        )
        return command.remote.Command(
            resource_name,
            connection=shell.connection(dial_error_limit=DIALS),
            create=None if install is None else shell.as_root(install),
            update=None if update is None else shell.as_root(update),
            delete=shell.as_root(delete),
            stdin=stdin,
            # What the installer waits for, and nothing that the archive holds.
            logging=command.remote.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(opts, common),
        )


def _shell(args: OnPremiseMachinesArgs, machine: OnPremiseMachine) -> Shell:
    return Shell(text_of(machine.address), args.private_key, machine.host_key, args.user, args.port)


def left_to_do(said: str | None) -> str:
    """What :data:`components.k3s_install.UPDATE` has left to the row, as its own word; empty where it was nothing."""
    return next((line for line in (said or "").splitlines() if line.startswith("later: ")), "")


def _logged_in(args: OnPremiseMachinesArgs, machine: OnPremiseMachine) -> Callable[[], Awaitable[MachineShell]]:
    found = pulumi.Output.all(
        text_of(machine.address),
        machine.host_key,
        args.private_key,
        machine.bundle,
        machine.k3s_url,
        machine.k3s_sha256,
        args.user,
        args.port,
    )

    async def later() -> MachineShell:
        known = await found.future()
        if known is None:
            raise ValueError(f"{machine.name}: not all is known of it")
        address, host_key, private_key, bundle, url, sha256, user, port = known
        return MachineShell(machine.name, address, host_key, private_key, bundle, url, sha256, user, int(port))

    return later


def _again(args: OnPremiseMachinesArgs, machine: OnPremiseMachine) -> Callable[[], Awaitable[ReinstalledMachine]]:
    logged_in = _logged_in(args, machine)

    async def later() -> ReinstalledMachine:
        return ReinstalledMachine(await logged_in(), pulumi.log.info)

    return later
