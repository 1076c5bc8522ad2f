"""The program of one stack, which is one cluster: reads what there is, refuses what is wrong, registers the rest.

Nothing in it knows a stack's name or an address: what differs between clusters is in their stack files.
"""

from __future__ import annotations

import asyncio
import gc
from importlib import import_module
from pathlib import Path
from typing import Any

import pulumi

from components.configuration import read_configuration
from components.hetzner_lookup import refuse_what_hetzner_lacks
from components.peer_link import read_peer_link
from components.sdk_debug import leave_out_debug_messages
from domain.plan import address_plan


async def main(*, directory: Path | None = None, callbacks: bool = True) -> dict[str, Any]:
    """Registers everything of this stack and gives its outputs.

    ``directory`` holds the stack files; by default it is the project's. ``callbacks`` is that of
    :func:`components.joined_cluster.joined_cluster`.
    """
    configuration = await read_configuration(directory or Path.cwd())
    settings = configuration.settings
    plan = address_plan(settings)
    # The mocks know no Hetzner.
    asking = asyncio.ensure_future(refuse_what_hetzner_lacks(configuration, plan) if callbacks else asyncio.sleep(0))
    if not pulumi.runtime.is_dry_run():
        # Before anything exists. A preview makes nothing, and need not wait here.
        await asking
    reading = asyncio.gather(*(read_peer_link(peer, plan) for peer in settings.peers))
    # Loaded while the engine reads, and while Hetzner answers.
    await asyncio.to_thread(import_module, "components.joined_cluster")
    await asking
    from components.joined_cluster import joined_cluster

    return await joined_cluster(settings, plan, reading, callbacks=callbacks)


async def _once() -> dict[str, Any]:
    """:func:`main` in a process that ends with it: there is little garbage to collect, and much that is loaded to look
    through, now and again and at the end once more.
    """
    gc.disable()
    outputs = await main()
    gc.freeze()
    return outputs


if __name__ == "__main__":
    leave_out_debug_messages()
    pulumi.run(_once)
