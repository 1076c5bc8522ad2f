"""Pulumi resources for what NetBird's operator has no custom resource for, by NetBird's REST API.

One dynamic provider, in a module that can be imported: the engine keeps a reference to the class instead of its code,
so an edit here shows no change in a preview. The address of the management server and the token come to the provider
from the stack's configuration (``configure``), never through a resource's inputs, so no resource state holds them.

Everything is found by name before it is made (see ``NetbirdClient.ensure``), which makes an interrupted ``up`` safe
to repeat.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pulumi
from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from components.netbird_client import Json, NetbirdClient, NetbirdError

if TYPE_CHECKING:
    from domain.netbird import Policy

OURS: Final = "isthmus-"
"""Every NetBird object of this program has a name with this start; nothing else is ever changed or deleted."""

PEER_DEADLINE_SECONDS: Final = 300.0
_PEER_POLL_SECONDS: Final = 2.0


class _Provider(ResourceProvider):
    """What the resources share. A subclass says how its object is made, read and deleted."""

    serialize_as_secret_always = False
    """The serialised provider is a reference to the class; as a secret it would only hide that."""

    replaced_by: tuple[str, ...] = ()
    """Inputs whose change asks for a new object."""

    def configure(self, req: ConfigureRequest) -> None:
        # Objects in the configuration come as JSON; everything in this section has a default.
        section = json.loads(req.config.get("netbird") or "{}")
        url = section.get("management_url") or _default_management_url()
        self._client = NetbirdClient(url, req.config.require("netbirdApiToken"))

    def _ensure(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        """Makes the object or puts it right; gives its id and the resource's outputs."""
        raise NotImplementedError

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        """The resource's outputs as they are now, None when the object is gone."""
        raise NotImplementedError

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        raise NotImplementedError

    def create(self, props: Json) -> CreateResult:
        id_, outs = self._ensure(self._client, _inputs(props))
        return CreateResult(id_, outs)

    def update(self, _id: str, _olds: Json, _news: Json) -> UpdateResult:
        _, outs = self._ensure(self._client, _inputs(_news))
        return UpdateResult(outs)

    def read(self, id_: str, props: Json) -> ReadResult:
        outs = self._find(self._client, id_, _inputs(props))
        if outs is None:
            return ReadResult("", {})
        return ReadResult(id_, outs)

    def delete(self, _id: str, _props: Json) -> None:
        self._remove(self._client, _id, _inputs(_props))

    def diff(self, _id: str, _olds: Json, _news: Json) -> DiffResult:
        changed = sorted(key for key, value in _inputs(_news).items() if _olds.get(key) != value)
        replaces = [key for key in changed if key in self.replaced_by]
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=True)


def _default_management_url() -> str:
    """The default of the settings, imported only where it is needed: the provider's process starts in every preview."""
    from domain.settings import NetbirdSettings

    return NetbirdSettings().management_url


def _inputs(props: Mapping[str, Any]) -> Json:
    """The properties without the SDK's own and without those that only the provider fills (None in the program)."""
    return {key: value for key, value in props.items() if not key.startswith("__") and value is not None}


def group_id(client: NetbirdClient, name: str) -> str:
    """The id of the group of this name; a missing one says what has to happen first."""
    groups = [group for group in client.list("/groups") if group["name"] == name]
    if not groups:
        raise NetbirdError("GET", "/groups", 200, f"there is no group {name}; raise the stack it belongs to first")
    return str(groups[0]["id"])


def _network_id(client: NetbirdClient, name: str) -> str:
    networks = [network for network in client.list("/networks") if network["name"] == name]
    if not networks:
        raise NetbirdError("GET", "/networks", 200, f"there is no network {name}; NetBird's operator makes it")
    return str(networks[0]["id"])


def remove_policies_of_group(client: NetbirdClient, group: str) -> None:
    """Deletes this program's policies that name a group, those of the peers' stacks too.

    NetBird refuses to delete a group that a policy names. A peer's policy towards a cluster that is going away is of
    no use any more, and its own stack makes it again once the cluster has a new router. Policies of other people
    stay.
    """
    for policy in client.list("/policies"):
        named = {
            entry["id"]
            for rule in policy["rules"]
            for key in ("sources", "destinations")
            for entry in rule.get(key) or []
        }
        if group in named and policy["name"].startswith(OURS):
            client.delete(f"/policies/{policy['id']}")


class GroupProvider(_Provider):
    """Of :class:`NetbirdGroup`. When a group goes it takes this program's policies that name it along, and its peers
    if they are ours: a router's identity is durable, so its peer would stay in the account for good.
    """

    replaced_by = ("name",)

    def _ensure(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        group = client.ensure("/groups", {"name": props["name"]})
        return group["id"], props

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        group = client.get(f"/groups/{id_}")
        return group and {**props, "name": group["name"]}

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        remove_policies_of_group(client, id_)
        if props.get("owns_peers"):
            group = client.get(f"/groups/{id_}") or {}
            for peer in group.get("peers") or []:
                client.delete(f"/peers/{peer['id']}")
        client.delete(f"/groups/{id_}")


class DnsZoneProvider(_Provider):
    """Of :class:`NetbirdDnsZone`."""

    replaced_by = ("name", "domain")

    def _ensure(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        body = {
            "name": props["name"],
            "domain": props["domain"],
            "enabled": True,
            "enable_search_domain": False,
            "distribution_groups": [group_id(client, props["group"])],
        }
        zone = client.ensure("/dns/zones", body, lambda found: all(found.get(key) == body[key] for key in body))
        return zone["id"], props

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        zone = client.get(f"/dns/zones/{id_}")
        return zone and {**props, "name": zone["name"], "domain": zone["domain"]}

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        client.delete(f"/dns/zones/{id_}")


class NetworkResourceProvider(_Provider):
    """Of :class:`NetbirdNetworkResource`. Its id is NETWORK/RESOURCE."""

    replaced_by = ("name", "network", "router_uid")

    def _ensure(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        network = _network_id(client, props["network"])
        group = group_id(client, props["group"])
        body = {"name": props["name"], "address": props["address"], "enabled": True, "groups": [group]}

        def same(found: Json) -> bool:
            groups = [entry["id"] for entry in found.get("groups") or []]
            return found["address"] == body["address"] and bool(found["enabled"]) and groups == [group]

        resource = client.ensure(f"/networks/{network}/resources", body, same)
        return f"{network}/{resource['id']}", props

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        resource = client.get(_resource_path(id_))
        return resource and {**props, "name": resource["name"], "address": resource["address"]}

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        client.delete(_resource_path(id_))


def _resource_path(id_: str) -> str:
    network, resource = id_.split("/")
    return f"/networks/{network}/resources/{resource}"


class PolicyProvider(_Provider):
    """Of :class:`NetbirdPolicy`."""

    replaced_by = ("name",)

    def _ensure(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        rule: Json = {
            "name": props["name"],
            "enabled": True,
            "action": "accept",
            "bidirectional": props["bidirectional"],
            "protocol": props["protocol"],
            "sources": [group_id(client, props["source"])],
            "destinations": [group_id(client, props["destination"])],
        }
        if props["ports"]:
            rule["ports"] = props["ports"]
        body = {"name": props["name"], "description": props["description"], "enabled": True, "rules": [rule]}
        # Always put right: which fields an answer repeats, and how, is not worth a comparison.
        policy = client.ensure("/policies", body, lambda _: False)
        return policy["id"], props

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        policy = client.get(f"/policies/{id_}")
        return policy and {**props, "name": policy["name"]}

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        client.delete(f"/policies/{id_}")


class RouterPeersProvider(_Provider):
    """Of :class:`NetbirdRouterPeers`. There is nothing to delete: the peers go with their group, when no agent is left
    that would enrol again.
    """

    def _ensure(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        return props["group"], {**props, "peers": wait_for_peers(client, props["group"], props["hostnames"])}

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        found = _peers(client, props["group"])
        peers = {node: found[hostname]["ip"] for node, hostname in props["hostnames"].items() if hostname in found}
        return {**props, "peers": peers} if peers else None

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        pass


def _peers(client: NetbirdClient, group: str) -> dict[str, Json]:
    """The peers of a group by name, which is NB_HOSTNAME (``hostname`` is that of the node). Of two with the same name
    the connected one counts.
    """
    found = [
        peer for peer in client.list("/peers") if any(entry["name"] == group for entry in peer.get("groups") or [])
    ]
    return {peer["name"]: peer for peer in sorted(found, key=lambda peer: bool(peer["connected"]))}


def wait_for_peers(
    client: NetbirdClient,
    group: str,
    hostnames: Mapping[str, str],
    *,
    deadline_seconds: float = PEER_DEADLINE_SECONDS,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """The NetBird address of each router node, once all of them are connected. ``hostnames`` is {node: name in
    NetBird}.

    Raises TimeoutError with the last state seen when the deadline passes.
    """
    end = now() + deadline_seconds
    while True:
        peers = _peers(client, group)
        if all(hostname in peers and peers[hostname]["connected"] for hostname in hostnames.values()):
            return {node: str(peers[hostname]["ip"]) for node, hostname in hostnames.items()}
        if now() >= end:
            seen = ", ".join(f"{hostname} ({_state_of(peers.get(hostname))})" for hostname in hostnames.values())
            raise TimeoutError(
                f"NetBird: after {deadline_seconds:.0f} s not all routers of {group} are connected: {seen}; "
                "look at the logs of the router pods in namespace netbird"
            )
        sleep(_PEER_POLL_SECONDS)


def _state_of(peer: Json | None) -> str:
    if peer is None:
        return "not enrolled"
    return "connected" if peer["connected"] else "enrolled, not connected"


class NetbirdGroup(Resource, module="isthmus", name="NetbirdGroup"):
    """A NetBird group. ``owns_peers``: whoever is in it goes with it."""

    name: pulumi.Output[str]

    def __init__(
        self, resource_name: str, *, name: str, owns_peers: bool = False, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(GroupProvider(), resource_name, {"name": name, "owns_peers": owns_peers}, opts)


class NetbirdDnsZone(Resource, module="isthmus", name="NetbirdDnsZone"):
    """A custom DNS zone in NetBird; a ``NetworkRouter`` has to name one. ``group`` is the name of its distribution
    group.
    """

    name: pulumi.Output[str]
    domain: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: str,
        domain: str,
        group: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(DnsZoneProvider(), resource_name, {"name": name, "domain": domain, "group": group}, opts)


class NetbirdNetworkResource(Resource, module="isthmus", name="NetbirdNetworkResource"):
    """A CIDR behind a NetBird network, which is found by its name.

    ``router_uid`` is the uid of the router object in Kubernetes: a new router means a new network, and this with it.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        name: str,
        network: str,
        address: str,
        group: pulumi.Input[str],
        router_uid: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"name": name, "network": network, "address": address, "group": group, "router_uid": router_uid}
        super().__init__(NetworkResourceProvider(), resource_name, props, opts)


class NetbirdPolicy(Resource, module="isthmus", name="NetbirdPolicy"):
    """A policy between two groups, which are given by their names.

    ``description`` is more than text: it names the peer's router addresses, so that the policy is put right when the
    peer was raised anew and its groups are new ones behind the same names.
    """

    def __init__(
        self, resource_name: str, policy: Policy, *, description: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        props = {
            "name": policy.name,
            "description": description,
            "source": policy.source_group,
            "destination": policy.destination_group,
            "protocol": policy.protocol,
            "ports": list(policy.ports),
            "bidirectional": policy.bidirectional,
        }
        super().__init__(PolicyProvider(), resource_name, props, opts)


class NetbirdRouterPeers(Resource, module="isthmus", name="NetbirdRouterPeers"):
    """The NetBird addresses of the router nodes of this cluster: ``peers`` is {node name: address}.

    ``hostnames`` is {node name: the router's name in NetBird}, ``router_uid`` as in :class:`NetbirdNetworkResource`.
    """

    peers: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        resource_name: str,
        *,
        group: pulumi.Input[str],
        hostnames: Mapping[str, str],
        router_uid: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"group": group, "hostnames": dict(hostnames), "router_uid": router_uid, "peers": None}
        super().__init__(RouterPeersProvider(), resource_name, props, opts)
