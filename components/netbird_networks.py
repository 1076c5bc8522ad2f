"""The network resource of a cluster's pods as a dynamic provider, and the operator's networks that it may lie in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

from pulumi.dynamic import DiffResult

from components.netbird_client import Json, NetbirdClient, NetbirdError
from components.netbird_provider import (
    OBJECT_ID,
    NetbirdProvider,
    group_id,
    groups_as_input,
    own_one,
    put_if_there,
    tell,
    unmarked,
)
from domain.netbird_marks import instance_of, marked

ROUTER_DEADLINE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 2.0


class NetworkResourceProvider(NetbirdProvider):
    """Of :class:`NetbirdNetworkResource`. Its id is NETWORK/RESOURCE.

    The network is the one that the router's status names. Its operator can make two of a name (it notes the id after
    the deed), and one without routing peers carries nothing. Another network is an update: the resource moves.
    """

    what = "network resource"
    inputs = (
        *("name", "network", "network_id", "address", "group", "router_uid", "description", "cluster", "instance"),
        *("enabled", "routing", "doubled"),
    )
    expected: ClassVar[dict[str, Any]] = {"enabled": True, "routing": True, "doubled": []}

    def diff(self, _id: str, _olds: Json, _news: Json) -> DiffResult:
        """As for the others; the network of an old state is in its id."""
        network = _network_and_resource(_olds.get(OBJECT_ID) or _id)[0]
        return super().diff(_id, {**_olds, "network_id": network}, _news)

    def _body(self, client: NetbirdClient, props: Json) -> Json:
        return {
            "name": props["name"],
            "description": marked(props["description"], props["cluster"], props["instance"]),
            "address": props["address"],
            "enabled": True,
            "groups": [group_id(client, props["group"])],
        }

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        network = props["network_id"]
        _wait_for_router(client, network, props["network"])
        _name_back(client, network, props["network"])
        # First, because the name of a resource is unique in the account.
        _leave_doubled_networks(client, props)

        def own(found: list[Json]) -> Json | None:
            return own_one(props["name"], self.what, props["cluster"], props["instance"], found)

        resource, _ = client.ensure(f"/networks/{network}/resources", self._body(client, props), own)
        return f"{network}/{resource['id']}", {}

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        network, _ = _network_and_resource(id_)
        _wait_for_router(client, props["network_id"], props["network"])
        if network != props["network_id"]:
            client.delete(_resource_path(id_))
            return self._make(client, props)
        if not put_if_there(client, _resource_path(id_), self._body(client, props)):
            return self._make(client, props)
        _name_back(client, network, props["network"])
        _leave_doubled_networks(client, props)
        return id_, {}

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        network, _ = _network_and_resource(id_)
        around = client.get(f"/networks/{network}")
        resource = around and client.get(_resource_path(id_))
        if not around or not resource:
            return None
        routers = client.list_below(f"/networks/{network}/routers")
        return {
            "name": resource["name"],
            "network": around["name"],
            "network_id": network,
            "address": resource["address"],
            "group": groups_as_input(client, props["group"], resource.get("groups")),
            "description": unmarked(resource.get("description"), props),
            "enabled": bool(resource["enabled"]),
            "routing": any(_routes(router) for router in routers),
            "doubled": _doubled(client, network, props["network"]),
        }

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        client.delete(_resource_path(id_))


def _network_and_resource(id_: str) -> tuple[str, str]:
    network, _, resource = id_.partition("/")
    return network, resource


def _resource_path(id_: str) -> str:
    network, resource = _network_and_resource(id_)
    return f"/networks/{network}/resources/{resource}"


def _routes(router: Json) -> bool:
    return bool(router["enabled"] and router["masquerade"])


def _wait_for_router(
    client: NetbirdClient,
    network: str,
    name: str,
    *,
    deadline_seconds: float = ROUTER_DEADLINE_SECONDS,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Returns when somebody routes for the network; routing peers that were switched off are switched on again.

    Raises NetbirdError at the deadline: pods behind a network without routing peers are reached by nobody.
    """
    end = now() + deadline_seconds
    while True:
        try:
            routers = client.list(f"/networks/{network}/routers")
        except NetbirdError as error:
            if error.status != 404:
                raise
            raise NetbirdError(
                *("GET", f"/networks/{network}", 404),
                f"network {name} was deleted. NetBird's operator makes another one within 15 minutes, or at once after "
                "`kubectl -n netbird rollout restart deployment isthmus-netbird-operator`; then `pulumi refresh` and "
                "`pulumi up`",
            ) from None
        if any(_routes(router) for router in routers):
            return
        for router in routers:
            body = {key: router[key] for key in ("peer", "peer_groups", "metric") if router.get(key)}
            client.put(f"/networks/{network}/routers/{router['id']}", {**body, "enabled": True, "masquerade": True})
            tell(f"NetBird: switched the routing peers of network {name} ({network}) on again")
        if not routers and now() >= end:
            raise NetbirdError(
                *("GET", f"/networks/{network}/routers", 200),
                f"network {name} has no routing peers after {deadline_seconds:.0f} s. NetBird's operator makes them; "
                "if it has made another network since, `pulumi refresh` sees that, and `pulumi up` takes the right one",
            )
        if not routers:
            client.pause(_POLL_SECONDS)


def _name_back(client: NetbirdClient, network: str, name: str) -> None:
    """The operator never looks at the name again, and by it alone its networks are found when it is gone itself."""
    there = client.get(f"/networks/{network}")
    if there is not None and there["name"] != name:
        client.put(f"/networks/{network}", {"name": name, "description": there.get("description") or ""})
        tell(f"NetBird: network {there['name']} ({network}) is called {name} again")


def _doubled(client: NetbirdClient, network: str, name: str) -> list[str]:
    """The ids of empty networks of the name of one that is in use."""
    return sorted(
        str(other["id"])
        for other in client.list("/networks")
        if other["name"] == name and other["id"] != network and not _is_used(other)
    )


def _is_used(network: Json) -> bool:
    return bool(network.get("routers") or network.get("resources") or network.get("policies"))


def _leave_doubled_networks(client: NetbirdClient, props: Json) -> None:
    """Deletes our resource out of other networks of the router's name, and those of them that are empty then.

    The resources of pods and services do so at the same time.
    """
    for network in client.list("/networks"):
        where = f"/networks/{network['id']}"
        if network["name"] != props["network"] or network["id"] == props["network_id"]:
            continue
        for resource in client.list_below(f"{where}/resources"):
            if resource["name"] == props["name"] and instance_of(resource.get("description")) in (
                None,
                props["instance"],
            ):
                client.delete(f"{where}/resources/{resource['id']}")
        left = client.get(where)
        if left is None:
            continue
        if _is_used(left):
            tell(f"NetBird: a second network {network['name']} ({network['id']}) is in use; it is left alone")
        else:
            client.delete(where)
            tell(f"NetBird: removed the empty second network {network['name']} ({network['id']})")
