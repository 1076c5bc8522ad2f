"""Says that a cluster can't be reached from here. A preview goes on: it still shows the plan. An ``up`` goes on as
well, with what needs no cluster, and what does need it fails in the provider's words, which name no fix.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import pulumi

from domain.kubeconfig import KubeconfigError, access

CONNECT_SECONDS: Final = 3.0


def why_unreachable(host: str, port: int) -> str | None:
    """What stands in the way of a connection; None when there is one."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return str(error)
    return None


def warn_if_unreachable(kubeconfig: pulumi.Output[str], context: str | None) -> None:
    """Once the kubeconfig is known: a warning when its API server does not take a connection."""
    preview = pulumi.runtime.is_dry_run()

    async def look(text: str) -> str:
        try:
            host, port = access(text, context).address
        except KubeconfigError:
            return ""  # The provider says what is wrong with a kubeconfig.
        reason = await asyncio.to_thread(why_unreachable, host, port)
        if reason is not None:
            what = (
                "this preview shows the plan without what the cluster would say to it; an `up` from here would fail"
                if preview
                else "what is in the cluster can't be changed until it answers; then run the same command again"
            )
            pulumi.log.warn(f"the cluster's API at {host}:{port} can't be reached from here ({reason}): {what}")
        return reason or ""

    _looked: pulumi.Output[str] = kubeconfig.apply(look)
