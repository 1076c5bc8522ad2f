"""The membership of each node in its cluster, as a resource that does its work when it is deleted: the node leaves.

It comes after the node's machine, so the engine deletes it first, and the machine only once the node has left. Where
the whole cluster goes the engine deletes none of them (``deleted_with``), so a ``destroy`` evicts nothing and needs no
cluster. A hook of the machine's deletion would do it only in a ``destroy --run-program``.

What it leaves by is in its state, since a node that leaves is not registered any more: the kubeconfig as k3s wrote it,
and the addresses of the servers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import ConfigureRequest, CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from domain.leaving import Part, leaving_order


@dataclass(frozen=True)
class Member:
    """A node and what it stands on. ``address`` is where its API server is reached, for one that runs it."""

    node: Part
    machine: pulumi.Resource
    address: pulumi.Input[str] | None


class MemberProvider(ResourceProvider):
    """Of :class:`NodeMember`. Nothing is asked before it is deleted."""

    serialize_as_secret_always = False
    """The serialised provider is a reference to the class; as a secret it would only hide that."""

    _seconds: int | None = None

    def configure(self, req: ConfigureRequest) -> None:
        """The deadline as the stack file has it now: that in the state is of the last update."""
        given = json.loads(req.config.get("k3s") or "{}").get("drain_seconds")
        self._seconds = int(given) if given is not None else None

    def create(self, props: dict[str, Any]) -> CreateResult:
        """It is there as soon as it is noted."""
        return CreateResult(str(props["node"]), plain(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """All but the name can change."""
        olds, news = plain(_olds), plain(_news)
        replaces = ["node"] if olds.get("node") != news.get("node") else []
        return DiffResult(changes=olds != news, replaces=replaces)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Noted likewise."""
        return UpdateResult(plain(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The node leaves. Raises NotLeftError."""
        # Only here: the provider's process starts in every preview.
        from components.node_leaving import Departure, leave

        departure = Departure(
            cluster=str(_props["cluster"]),
            node=str(_props["node"]),
            server=bool(_props["server"]),
            addresses=[str(address) for address in _props["addresses"]],
            seconds=float(_props["drain_seconds"] if self._seconds is None else self._seconds),
            kubeconfig=str(_props["kubeconfig"]),
        )
        leave(departure, lambda text: print(text, flush=True))


def plain(props: Mapping[str, Any]) -> dict[str, Any]:
    """The properties without the SDK's own."""
    return {key: value for key, value in props.items() if not key.startswith("__")}


class NodeMember(Resource, module="isthmus", name="NodeMember"):
    """A node of a cluster. ``kubeconfig`` is secret."""

    def __init__(
        self,
        name: str,
        *,
        node: str,
        cluster: str,
        server: bool,
        addresses: Sequence[pulumi.Input[str]],
        drain_seconds: pulumi.Input[int],
        kubeconfig: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "node": node,
            "cluster": cluster,
            "server": server,
            "addresses": list(addresses),
            "drain_seconds": drain_seconds,
            "kubeconfig": pulumi.Output.secret(kubeconfig),
        }
        secret = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        super().__init__(MemberProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))


def join_members(
    name: str,
    cluster: str,
    members: Sequence[Member],
    *,
    kubeconfig: pulumi.Output[str],
    gone_with: pulumi.Resource,
    drain_seconds: pulumi.Input[int],
    made_here: bool,
    parent: pulumi.Resource,
) -> None:
    """A resource for each node. ``gone_with`` is deleted with the whole cluster, and not before. ``made_here``: the
    addresses come from the machines' resources, so that a member comes after each machine whose address it knows.
    """
    by_name = {member.node.name: member for member in members}
    made: dict[str, NodeMember] = {}
    for node, stay_longer in leaving_order([member.node for member in members]).items():
        member = by_name[node]
        made[node] = NodeMember(
            f"{name}-{node}-member",
            node=node,
            cluster=cluster,
            server=member.node.server,
            addresses=_asked(node, stay_longer, by_name, all_others=not made_here),
            drain_seconds=drain_seconds,
            kubeconfig=kubeconfig,
            opts=pulumi.ResourceOptions(
                parent=parent,
                deleted_with=gone_with,
                depends_on=[member.machine, *(made[other] for other in stay_longer)],
            ),
        )


def _asked(
    name: str, stay_longer: Sequence[str], members: Mapping[str, Member], *, all_others: bool
) -> list[pulumi.Input[str]]:
    """The addresses of the servers that stay for longer first, its own last. Of ``all_others`` between them, unless
    that would keep the machine of a server that leaves before this one.
    """
    others = [other for other in members if all_others and other not in stay_longer and other != name]
    addresses = (members[member].address for member in [*stay_longer, *others, name])
    return [address for address in addresses if address is not None]
