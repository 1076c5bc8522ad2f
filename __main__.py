"""The program of one stack, which is one cluster: reads what there is, refuses what is wrong, registers the rest.

Nothing in it knows a stack's name or an address: what differs between clusters is in their stack files.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pulumi

from components.configuration import read_configuration
from components.engine import ENGINE, Engine
from components.given_cluster_look import refuse_unfit_cluster
from components.hetzner_lookup import refuse_what_hetzner_lacks
from components.joined_cluster import JoinedCluster, JoinedClusterArgs
from components.machine_preflight import refuse_unfit_machines
from components.netbird_operator import operators_namespace_stays
from components.peer_link import Coming, read_peer_link
from components.sdk_debug import leave_out_debug_messages
from components.secrets import read_secrets
from domain.changes import machines_that_come
from domain.plan import address_plan


async def main(*, directory: Path | None = None, engine: Engine = ENGINE) -> dict[str, Any]:
    """Registers everything of this stack and gives its outputs.

    ``directory`` holds the stack files; by default it is the project's. ``engine`` is who calls back.
    """
    configuration = await read_configuration(directory or Path.cwd())
    settings = configuration.settings
    plan = address_plan(settings)
    if engine.calls_back:  # the mocks know no Hetzner, no cluster and no machines
        await refuse_what_hetzner_lacks(configuration, plan)
        await refuse_unfit_cluster(configuration)
        if not pulumi.runtime.is_dry_run():
            await refuse_unfit_machines(configuration)
    taken = settings.link.cluster_ips
    coming = Coming(settings.place.name, machines_that_come(configuration.outputs, settings))
    peers = await asyncio.gather(
        *(read_peer_link(peer, plan, cluster_ips=taken, coming=coming) for peer in settings.peers)
    )
    # What is refused is refused by now, before anything exists.
    secrets = read_secrets(settings.stack)
    cluster = JoinedCluster(
        settings.stack,
        JoinedClusterArgs(
            settings=settings,
            secrets=secrets,
            peers=peers,
            last=configuration.outputs,
            namespace_stays=engine.calls_back and await operators_namespace_stays(settings, secrets),
            engine=engine,
            bare_names=True,
        ),
    )
    return dict(cluster.outputs)


if __name__ == "__main__":
    leave_out_debug_messages()
    pulumi.run(main)
