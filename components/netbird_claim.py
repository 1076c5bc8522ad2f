"""A stack's claim on its names in a NetBird account, and what has to go last.

The claim is a group that nobody is in; its name carries the cluster and the instance of the stack's state. It is made
before anything else in NetBird and removed after all of it, so a second stack of the same name (another project,
another state) finds it and is refused before it has touched anything.
"""

from __future__ import annotations

from typing import Any, ClassVar

from components.netbird_client import Json, NetbirdClient
from components.netbird_provider import NetbirdProvider, TakenError, tell
from domain.netbird_marks import OURS, claim_name, claimed_by


class ClaimProvider(NetbirdProvider):
    """Of :class:`NetbirdClaim`."""

    what = "claim"
    inputs = ("cluster", "instance")

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        cluster, instance = props["cluster"], props["instance"]
        name = claim_name(cluster, instance)

        def own(found: list[Json]) -> Json | None:
            _refuse_others(cluster, instance, found)
            return next((group for group in found if group["name"] == name), None)

        groups = client.list("/groups")
        before = sorted(known["name"] for known in groups if known["name"] in _names(cluster))
        if own(groups) is None and before:
            tell(f"NetBird: {', '.join(before)} carried no mark of a stack; from now on this stack's")
        group, _ = client.ensure("/groups", {"name": name}, own)
        return str(group["id"]), {}

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        return self._make(client, props)

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        group = client.get(f"/groups/{id_}")
        if group is None or group["name"] != claim_name(props["cluster"], props["instance"]):
            return None
        return {}

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        remove_what_the_operator_left(client, props["cluster"])
        client.delete(f"/groups/{id_}")


def _names(cluster: str) -> tuple[str, ...]:
    return (f"{OURS}{cluster}-pods", f"{OURS}{cluster}-routers")


def _refuse_others(cluster: str, instance: str, groups: list[Json]) -> None:
    for group in groups:
        if claimed_by(cluster, group["name"]) not in (None, instance):
            raise TakenError(f"group {group['name']} ({group['id']})", cluster)


def remove_what_the_operator_left(client: NetbirdClient, cluster: str) -> None:
    """Deletes the networks of the router's name, with the operator's key and group of each, when the operator itself
    could not: it was gone, or its cluster was. A network that holds anything else stays, and is named.
    """
    for network in [found for found in client.list("/networks") if found["name"] == f"{OURS}{cluster}"]:
        where, id_ = f"/networks/{network['id']}", network["id"]
        if client.list_below(f"{where}/resources"):
            tell(f"NetBird: network {network['name']} ({id_}) has resources of somebody else; it is left alone")
            continue
        client.delete(where)
        tell(f"NetBird: removed network {network['name']} ({id_}), which the operator had left")
        for collection in ("/setup-keys", "/groups"):
            for item in client.list(collection):
                # The operator names both after the network.
                if item["name"].startswith(f"networkrouter-{id_}-"):
                    client.delete(f"{collection}/{item['id']}")


class SetupKeyProvider(NetbirdProvider):
    """Of :class:`NetbirdSetupKey`: watches the key that the operator makes of a SetupKey object, by its name, which is
    this stack's by its claim.

    A key that was revoked or has expired lets no router in. It is deleted, and ``renewals``, which the program writes
    into an annotation of the object, lets the operator look at once instead of after a quarter of an hour: it makes a
    new key and writes the Secret anew.
    """

    what = "setup key"
    inputs = ("name", "usable")
    expected: ClassVar[dict[str, Any]] = {"usable": True}

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        # None yet on a first run; on that of a cluster which an earlier release raised, the one that is used.
        return props["name"], {"renewals": 0}

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        for key in _keys(client, props["name"]):
            if not key["valid"]:
                client.delete(f"/setup-keys/{key['id']}")
        tell(f"NetBird: setup key {props['name']} was not valid any more; the operator makes a new one")
        return id_, {"renewals": int(olds.get("renewals") or 0) + 1}

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        keys = _keys(client, props["name"])
        return {"usable": bool(keys) and all(key["valid"] for key in keys)}

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        # The operator deletes it with its object; where it could not, the key would keep the routers' group.
        for key in _keys(client, props["name"]):
            client.delete(f"/setup-keys/{key['id']}")


def _keys(client: NetbirdClient, name: str) -> list[Json]:
    return [key for key in client.list("/setup-keys") if key["name"] == name]
