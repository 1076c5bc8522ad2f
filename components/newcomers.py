"""Before a worker is made: it does not come with a newer minor release of Kubernetes than a server runs.

A machine begins with the k3s of the settings, before the nodes that run go on to it. What those run is asked
of them: an earlier program noted what the settings said. A cluster that can't be asked is no reason not to make a
worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.former_node import LastUpdate
from components.kubernetes_client import KubernetesError
from domain.names import API_PORT
from domain.upgrading import newer_than_servers, not_made


class TooNewError(Exception):
    """A worker was not made."""


def nodes_listed(last: LastUpdate, *, port: int = API_PORT) -> Mapping[str, Any]:
    """The API's list of Nodes by whichever server answers; empty where none does."""
    for address, client in last.servers(port=port):
        if isinstance(client, str):
            continue
        try:
            return client.request("GET", "/api/v1/nodes")
        except KubernetesError as error:
            pulumi.log.debug(f"{last.stack}: what its nodes run was not asked at {address}: {error}")
    return {}


def refuse_newer(
    last: LastUpdate, servers: Sequence[str], version: str, *, prefix: str = ""
) -> pulumi.ResourceHookFunction:
    """The hook for ``before_create`` of every machine. ``servers`` are the names of those that run the API; the
    resource of a machine is called by its name, behind the ``prefix``.
    """

    async def before_create(args: pulumi.ResourceHookArgs) -> None:
        name = args.name.removeprefix(prefix)
        if name in servers:
            return
        listed = await asyncio.to_thread(nodes_listed, last)
        if (against := newer_than_servers(listed, servers, version)) is not None:
            raise TooNewError(not_made(last.stack, name, against))

    return before_create
