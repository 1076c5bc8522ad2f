"""Groups, DNS zones and policies, as dynamic providers."""

from __future__ import annotations

from typing import Any, ClassVar

from components.netbird_client import Json, NetbirdClient
from components.netbird_provider import (
    NetbirdProvider,
    group_id,
    groups_as_input,
    own_one,
    put_if_there,
    remove_doubles,
    unmarked,
)
from domain.netbird_marks import OURS, marked, may_be_in


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


class GroupProvider(NetbirdProvider):
    """Of :class:`NetbirdGroup`. When a group goes it takes this program's policies that name it along, and its peers
    if they are ours: a router's identity is durable, so its peer would stay in the account for good.
    """

    what = "group"
    inputs = ("name", "owns_peers", "strangers")
    expected: ClassVar[dict[str, Any]] = {"strangers": []}

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        name = props["name"]
        found = own_one(name, self.what, "", None, client.list("/groups"))
        if found is not None:
            return self._change(client, found["id"], props, {})
        # Looks again in each try, so that a lost answer makes no second one.
        made, _ = client.ensure("/groups", {"name": name}, lambda there: _named(there, name))
        return str(made["id"]), {}

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        group = client.get(f"/groups/{id_}")
        if group is None:
            return self._make(client, props)
        strangers = _strangers(props["name"], group)
        if group["name"] != props["name"] or strangers:
            # The request replaces the members too.
            peers = [peer["id"] for peer in group.get("peers") or [] if peer["name"] not in strangers]
            resources = group.get("resources") or []
            client.put(f"/groups/{id_}", {"name": props["name"], "peers": peers, "resources": resources})
        remove_doubles(client, "/groups", props["name"], id_, None)
        return id_, {}

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        group = client.get(f"/groups/{id_}")
        return group and {"name": group["name"], "strangers": _strangers(props["name"], group)}

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        group = client.get(f"/groups/{id_}")
        if group is None:
            return
        remove_policies_of_group(client, id_)
        if props.get("owns_peers"):
            for peer in group.get("peers") or []:
                if may_be_in(props["name"], peer["name"]):
                    client.delete(f"/peers/{peer['id']}")
        client.delete(f"/groups/{id_}")


def _named(found: list[Json], name: str) -> Json | None:
    return next((item for item in found if item["name"] == name), None)


def _strangers(name: str, group: Json) -> list[str]:
    return sorted(peer["name"] for peer in group.get("peers") or [] if not may_be_in(name, peer["name"]))


class DnsZoneProvider(NetbirdProvider):
    """Of :class:`NetbirdDnsZone`. NetBird has one zone of a domain, and never changes its domain."""

    what = "DNS zone"
    inputs = ("name", "domain", "group", "enabled", "search_domain")
    expected: ClassVar[dict[str, Any]] = {"enabled": True, "search_domain": False}
    replaced_by = ("domain",)

    def _body(self, client: NetbirdClient, props: Json) -> Json:
        return {
            "name": props["name"],
            "domain": props["domain"],
            "enabled": True,
            "enable_search_domain": False,
            "distribution_groups": [group_id(client, props["group"])],
        }

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        def of_domain(found: list[Json]) -> Json | None:
            return next((zone for zone in found if zone["domain"] == props["domain"]), None)

        zone, _ = client.ensure("/dns/zones", self._body(client, props), of_domain)
        return str(zone["id"]), {}

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        if put_if_there(client, f"/dns/zones/{id_}", self._body(client, props)):
            return id_, {}
        return self._make(client, props)

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        zone = client.get(f"/dns/zones/{id_}")
        return zone and {
            "name": zone["name"],
            "domain": zone["domain"],
            "enabled": bool(zone.get("enabled")),
            "search_domain": bool(zone["enable_search_domain"]),
            "group": groups_as_input(client, props["group"], [{"id": group} for group in zone["distribution_groups"]]),
        }

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        client.delete(f"/dns/zones/{id_}")


class PolicyProvider(NetbirdProvider):
    """Of :class:`NetbirdPolicy`: one rule, between two groups."""

    what = "policy"
    inputs = (
        *("name", "description", "source", "destination", "protocol", "ports", "bidirectional"),
        *("cluster", "instance", "peer_routers", "enabled", "action", "other_rules", "posture_checks"),
    )
    expected: ClassVar[dict[str, Any]] = {
        "enabled": True,
        "action": "accept",
        "other_rules": [],
        "posture_checks": [],
    }

    def _body(self, client: NetbirdClient, props: Json) -> Json:
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
        description = marked(props["description"], props["cluster"], props["instance"])
        return {"name": props["name"], "description": description, "enabled": True, "rules": [rule]}

    def _make(self, client: NetbirdClient, props: Json) -> tuple[str, Json]:
        def own(found: list[Json]) -> Json | None:
            return own_one(props["name"], self.what, props["cluster"], props["instance"], found)

        policy, _ = client.ensure("/policies", self._body(client, props), own)
        remove_doubles(client, "/policies", props["name"], policy["id"], props["instance"])
        return str(policy["id"]), {}

    def _change(self, client: NetbirdClient, id_: str, props: Json, olds: Json) -> tuple[str, Json]:
        if not put_if_there(client, f"/policies/{id_}", self._body(client, props)):
            return self._make(client, props)
        remove_doubles(client, "/policies", props["name"], id_, props["instance"])
        return id_, {}

    def _find(self, client: NetbirdClient, id_: str, props: Json) -> Json | None:
        policy = client.get(f"/policies/{id_}")
        if policy is None:
            return None
        ours = next((rule for rule in policy["rules"] if rule["name"] == props["name"]), policy["rules"][0])
        ports = [
            *(ours.get("ports") or []),
            *(f"{port_range['start']}-{port_range['end']}" for port_range in ours.get("port_ranges") or []),
        ]
        return {
            "name": policy["name"],
            "description": unmarked(policy.get("description"), props),
            "enabled": bool(policy["enabled"] and ours["enabled"]),
            "action": ours["action"],
            "bidirectional": bool(ours["bidirectional"]),
            "protocol": ours["protocol"],
            "ports": ports,
            "source": _side(client, props["source"], ours, "sources", "sourceResource"),
            "destination": _side(client, props["destination"], ours, "destinations", "destinationResource"),
            "other_rules": sorted(rule["name"] for rule in policy["rules"] if rule is not ours),
            "posture_checks": sorted(policy.get("source_posture_checks") or []),
        }

    def _remove(self, client: NetbirdClient, id_: str, props: Json) -> None:
        client.delete(f"/policies/{id_}")


def _side(client: NetbirdClient, wanted: str, rule: Json, groups: str, resource: str) -> str:
    single = rule.get(resource)
    if single and single.get("id"):
        return f"{single.get('type')} {single['id']}"
    return groups_as_input(client, wanted, rule.get(groups))
