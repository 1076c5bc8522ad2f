"""Before a server is made at Hetzner: the Node of the machine that had its name before is deleted.

k3s goes on counting a server as a member of etcd until its Node is deleted, and refuses another of its name; of an
agent it keeps the password. The new machine can't change that, since it is nobody to the cluster yet. A hook of the
server's creation is the moment: the machine of before is gone by then, whoever deleted it.

A cluster that can't be asked is no reason not to make a server: it may be the one that brings it back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi

from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from components.reachability import why_unreachable
from domain.kubeconfig import KubeconfigError, rewrite
from domain.names import API_PORT

API_ADDRESSES: Final = "api_addresses"
"""Output of a stack: where its servers are reached from outside, in the order of their names."""
GONE_SECONDS: Final = 60.0
"""k3s takes the member out before it lets go of the Node."""
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class LastUpdate:
    """What the stack's last update left of its cluster; ``kubeconfig`` is None before the first."""

    stack: str
    kubeconfig: str | None = field(repr=False)
    addresses: Sequence[str]

    @classmethod
    def of(cls, stack: str, outputs: Mapping[str, Any]) -> LastUpdate:
        """From the stack's outputs. What has another form is not there."""
        kubeconfig, addresses = outputs.get("kubeconfig"), outputs.get(API_ADDRESSES)
        return cls(
            stack,
            kubeconfig if isinstance(kubeconfig, str) else None,
            [address for address in addresses if isinstance(address, str)]
            if isinstance(addresses, list | tuple)
            else [],
        )

    def servers(self, *, port: int = API_PORT) -> Iterator[tuple[str, KubernetesClient | str]]:
        """{address of a server: what asks it, or why it can't be asked}, one after the other, and none before the
        first update. One that takes no connection is not asked, since a client waits longer for it.
        """
        for address in self.addresses if self.kubeconfig is not None else ():
            if (reason := why_unreachable(address, port)) is not None:
                yield address, reason
                continue
            try:
                yield address, KubernetesClient(rewrite(str(self.kubeconfig), address, self.stack))
            except (UnsupportedKubeconfigError, KubeconfigError) as error:
                yield address, str(error)


def forget_former_node(
    last: LastUpdate,
    name: str,
    *,
    port: int = API_PORT,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Deletes the Node of that name by whichever server answers; False where there is none.

    Raises KubernetesError where no server answers, or the Node is still there after :data:`GONE_SECONDS`.
    """
    if last.kubeconfig is None:
        return False
    reasons = []
    for address, client in last.servers(port=port):
        if isinstance(client, str):
            reasons.append(f"{address}: {client}")
            continue
        try:
            return _forget(client, name, now=now, sleep=sleep)
        except KubernetesError as error:
            reasons.append(f"{address}: {error}")
    raise KubernetesError("; ".join(reasons) or "no server is known")


def _forget(client: KubernetesClient, name: str, *, now: Callable[[], float], sleep: Callable[[float], None]) -> bool:
    path = f"/api/v1/nodes/{name}"
    if (node := client.get(path)) is None:
        return False
    uid = node["metadata"]["uid"]
    client.request("DELETE", path)
    end = now() + GONE_SECONDS
    while (there := client.get(path)) is not None and there["metadata"]["uid"] == uid:
        if now() >= end:
            raise KubernetesError(f"it is still there after {GONE_SECONDS:.0f} s")
        sleep(LOOK_SECONDS)
    return True


def forget_before_create(last: LastUpdate) -> pulumi.ResourceHookFunction:
    """The hook for ``before_create`` of every server."""

    async def before_create(args: pulumi.ResourceHookArgs) -> None:
        try:
            deleted = await asyncio.to_thread(forget_former_node, last, args.name)
        except KubernetesError as error:
            pulumi.log.warn(
                f"{last.stack}: the Node that {args.name} was before could not be deleted ({error}). Where there is "
                f"one, the new server joins once `kubectl delete node {args.name}` has been run"
            )
            return
        if deleted:
            pulumi.log.info(f"{last.stack}: {args.name} is made anew; its Node of before is deleted")

    return before_create
