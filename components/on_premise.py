"""Machines that exist already: k3s put on them over SSH, or a cluster that somebody else runs, given by its kubeconfig.

It owns what Isthmus puts on those machines, not the machines. What that is comes from ``domain`` as one deterministic
tar archive a machine: the same settings give the same bytes, so an ``up`` without changes does nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
import pulumi_command as command

from components.cluster import Cluster, Shell, fetch_kubeconfig
from domain.names import INSTALL_SCRIPT, UNINSTALL_SCRIPT

INSTALL: Final = (
    f"set -eu; umask 077; base64 -d | tar --extract --preserve-permissions --directory /; exec {INSTALL_SCRIPT}"
)
"""Unpacks the archive from standard input and runs the installer in it. Idempotent: it restarts k3s only for a
change.
"""

UNINSTALL: Final = f"if [ -x {UNINSTALL_SCRIPT} ]; then exec {UNINSTALL_SCRIPT}; fi"


@dataclass(frozen=True)
class OnPremiseMachine:
    """One machine. ``bundle`` is the tar archive with its files; it is secret, because the k3s token is in it."""

    name: str
    role: Literal["server", "agent"]
    address: str
    host_key: str
    bundle: pulumi.Output[bytes]


@dataclass(frozen=True)
class OnPremiseMachinesArgs:
    """``machines``: the first one with role ``server`` starts the cluster."""

    cluster: str
    machines: Sequence[OnPremiseMachine]
    user: str
    port: int
    private_key: pulumi.Input[str]


class OnPremiseMachines(pulumi.ComponentResource):
    """k3s on machines that are reached by SSH. Needs the command provider in its options."""

    cluster: Cluster

    def __init__(self, name: str, args: OnPremiseMachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:on_premise:OnPremiseMachines", name, {"cluster": args.cluster}, opts)
        servers = [machine for machine in args.machines if machine.role == "server"]
        agents = [machine for machine in args.machines if machine.role == "agent"]

        # The first server makes the cluster that the others join; agents come last, and leave first.
        first = self._install(args, servers[0], after=[])
        joined = [self._install(args, machine, after=[first]) for machine in servers[1:]]
        workers = [self._install(args, machine, after=[first, *joined]) for machine in agents]

        kubeconfig, fetched = fetch_kubeconfig(
            f"isthmus-{args.cluster}-kubeconfig",
            shell=Shell(servers[0].address, args.private_key, servers[0].host_key, args.user, args.port),
            nodes=[machine.name for machine in args.machines],
            address=servers[0].address,
            context=args.cluster,
            fetched_again_with=first.id,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[first, *joined, *workers]),
        )
        self.cluster = Cluster(kubeconfig, args.cluster, [fetched])
        self.register_outputs({"kubeconfig": kubeconfig})

    def _install(
        self, args: OnPremiseMachinesArgs, machine: OnPremiseMachine, *, after: Sequence[pulumi.Resource]
    ) -> command.remote.Command:
        shell = Shell(machine.address, args.private_key, machine.host_key, args.user, args.port)
        bundle: pulumi.Output[bytes] = pulumi.Output.secret(machine.bundle)
        return command.remote.Command(
            machine.name,
            connection=shell.connection(),
            create=shell.as_root(INSTALL),
            update=shell.as_root(INSTALL),
            delete=shell.as_root(UNINSTALL),
            stdin=bundle.apply(lambda archive: base64.b64encode(archive).decode()),
            logging=command.remote.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(after),
                additional_secret_outputs=["stdout", "stderr"],
                custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m", delete="15m"),
            ),
        )
