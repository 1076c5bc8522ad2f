"""What the rest of the program needs of a cluster, wherever its machines come from."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import IPv4Address

import pulumi
import pulumi_command as command
import pulumi_kubernetes as kubernetes

from components.inputs import once_known
from components.reachability import why_unreachable
from components.ssh_reachable import SSH_PORT
from domain import kubeconfig as kubeconfigs
from domain.names import API_PORT

READY_DEADLINE_SECONDS = 1200
"""From a server's creation: image, first boot, download of k3s. A slow machine takes a few minutes."""


@dataclass(frozen=True)
class Cluster:
    """A running Kubernetes API. ``kubeconfig`` is secret; ``context`` is None for its current context.

    ``ready`` are the resources that have to exist before anything can be put into the cluster. ``machines`` is the
    whole of what it runs on, None where that is somebody else's. ``addresses`` are those of its servers at Hetzner,
    where they are reached from outside.
    """

    kubeconfig: pulumi.Output[str]
    context: str | None
    ready: Sequence[pulumi.Resource]
    machines: pulumi.Resource | None = None
    addresses: Sequence[pulumi.Output[str]] = ()


@dataclass(frozen=True)
class Shell:
    """How to log in to one machine: always with a key, never without its host key. The private key is secret."""

    host: pulumi.Input[str]
    private_key: pulumi.Input[str]
    host_key: pulumi.Input[str]
    user: pulumi.Input[str] = "root"
    port: pulumi.Input[int] = SSH_PORT

    def connection(self, *, dial_error_limit: int = 60) -> command.remote.ConnectionArgs:
        """What the command provider connects with. By default the tries, with growing pauses, outlast the first boot of
        a server that was made a moment ago.
        """
        return command.remote.ConnectionArgs(
            host=self.host,
            port=self.port,
            user=self.user,
            private_key=self.private_key,
            host_key=self.host_key,
            dial_error_limit=dial_error_limit,
            per_dial_timeout=15,
        )

    def as_root(self, text: str) -> pulumi.Input[str]:
        """The command, by way of sudo for another user than root."""
        return once_known(lambda user: text if user == "root" else f"sudo -n sh -c {shlex.quote(text)}", self.user)


def fetch_kubeconfig(
    name: str,
    *,
    shell: Shell,
    address: pulumi.Input[str],
    context: str,
    fetched_again_with: pulumi.Input[str],
    kept: bool = False,
    others: Sequence[pulumi.Input[str]] = (),
    hooks: pulumi.ResourceHookBinding | None = None,
    opts: pulumi.ResourceOptions,
) -> tuple[pulumi.Output[str], command.remote.Command]:
    """The kubeconfig of a k3s server over SSH, once its API serves, and the resource that fetched it. No other node is
    waited for.

    ``address`` is where the program and its user reach the API server. ``fetched_again_with`` is the id of what made
    the server: a new one has a new certificate authority. Not where there are several: then a new one joins, the
    authority is that of the cluster, and the kubeconfig is ``kept``. It leads to whichever server lives, where the
    addresses of the ``others`` are given as well.
    """
    fetched = command.remote.Command(
        name,
        connection=shell.connection(),
        # The provider ends nothing that runs on the machine, so the machine does.
        create=shell.as_root(f"timeout -k 30 {READY_DEADLINE_SECONDS + 60} sh -s -- {READY_DEADLINE_SECONDS}"),
        stdin=(files("components") / "files" / "print-kubeconfig.sh").read_text(encoding="utf-8"),
        # Without a dependency where it is kept, or the engine takes it along when it replaces the server.
        triggers=[context if kept else fetched_again_with],
        # What it waits for; the kubeconfig goes to standard output.
        logging=command.remote.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                additional_secret_outputs=["stdout", "stderr"],
                custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m"),
                ignore_changes=["triggers"] if kept else None,
                hooks=hooks,
            ),
        ),
    )

    async def rewritten(found: Sequence[str]) -> str:
        text, *addresses = found
        return kubeconfigs.rewrite(text, IPv4Address(await that_answers(addresses, API_PORT)), context)

    return pulumi.Output.secret(pulumi.Output.all(fetched.stdout, address, *others).apply(rewritten)), fetched


async def that_answers(addresses: Sequence[str], port: int) -> str:
    """The first of the addresses where somebody takes a connection, the first of all where nobody does. One alone is
    not looked at.
    """
    if len(addresses) == 1:
        return addresses[0]
    reasons = await asyncio.gather(*(asyncio.to_thread(why_unreachable, address, port) for address in addresses))
    return next((address for address, reason in zip(addresses, reasons, strict=True) if reason is None), addresses[0])


def kubernetes_provider(
    name: str, cluster: Cluster, *, opts: pulumi.ResourceOptions | None = None
) -> kubernetes.Provider:
    """The explicit provider for everything in the cluster.

    ``cluster_identifier`` keeps the engine from planning a replacement of the provider, and of all that it made,
    while the kubeconfig is unknown or has changed. ConfigMaps and Secrets are changed in place; without the switches
    each change would make a new object.
    """
    return kubernetes.Provider(
        name,
        kubeconfig=cluster.kubeconfig,
        context=cluster.context,
        cluster_identifier=name,
        enable_server_side_apply=True,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(cluster.ready))),
    )
