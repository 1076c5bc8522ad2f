"""Records as the JSON objects of the public API. Pure; key names and nesting follow the API reference."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lab.standins.hetzner_api import catalog, firewalls, networks, servers
from lab.standins.hetzner_api.catalog import INCLUDED_TRAFFIC_BYTES, Image, Location, ServerType
from lab.standins.hetzner_api.cloud import Cloud, progress_percent
from lab.standins.hetzner_api.records import (
    Action,
    AppliedTo,
    Firewall,
    Network,
    PlacementGroup,
    PrimaryIp,
    Server,
    SshKey,
)

Json = dict[str, Any]

_IMAGE_CREATED = "2025-08-19T08:00:00+00:00"


def timestamp(moment: datetime | None) -> str | None:
    """Return a time as the API writes it."""
    return moment.isoformat(timespec="seconds") if moment is not None else None


def action(one: Action, now: datetime, expected_seconds: float) -> Json:
    """Return an action; its progress is told from the time it has run."""
    return {
        "id": one.id,
        "command": one.command,
        "status": one.status,
        "progress": progress_percent(one, now, expected_seconds),
        "started": timestamp(one.started),
        "finished": timestamp(one.finished),
        "resources": [{"id": resource.id, "type": resource.type} for resource in one.resources],
        "error": {"code": one.error.code, "message": one.error.message} if one.error is not None else None,
    }


def location(one: Location) -> Json:
    """Return a location."""
    return {
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "country": one.country,
        "city": one.city,
        "latitude": one.latitude,
        "longitude": one.longitude,
        "network_zone": one.network_zone,
    }


def server_type(one: ServerType) -> Json:
    """Prices are zero: the stand-in bills nothing."""
    price = {"net": "0.0000000000", "gross": "0.0000000000"}
    places = [place for place in catalog.LOCATIONS if place.name in one.locations]
    return {
        "id": one.id,
        "name": one.name,
        "description": one.name.upper(),
        "category": one.category,
        "cores": one.cores,
        "memory": one.memory,
        "disk": one.disk,
        "deprecated": False,
        "deprecation": None,
        "prices": [
            {
                "location": place.name,
                "price_hourly": price,
                "price_monthly": price,
                "included_traffic": INCLUDED_TRAFFIC_BYTES,
                "price_per_tb_traffic": price,
            }
            for place in places
        ],
        "storage_type": "local",
        "cpu_type": one.cpu_type,
        "architecture": one.architecture,
        "locations": [
            _sold_in(place, one) for place in catalog.LOCATIONS if place.name in one.locations + one.ended_in
        ],
    }


_ENDED = {"announced": "2025-10-16T06:00:00Z", "unavailable_after": "2025-12-31T23:59:59Z"}


def _sold_in(place: Location, one: ServerType) -> Json:
    """A place with what the API says of a server type there."""
    sold = place.name in one.locations
    return {
        "id": place.id,
        "name": place.name,
        "deprecation": None if sold else _ENDED,
        "available": sold,
        "recommended": sold,
    }


def image(one: Image) -> Json:
    """Return an image."""
    return {
        "id": one.id,
        "type": "system",
        "status": "available",
        "name": one.name,
        "description": one.description,
        "image_size": None,
        "disk_size": 5,
        "created": _IMAGE_CREATED,
        "created_from": None,
        "bound_to": None,
        "os_flavor": one.os_flavor,
        "os_version": one.os_version,
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": None,
        "deleted": None,
        "labels": {},
        "architecture": one.architecture,
    }


def ssh_key(one: SshKey) -> Json:
    """Return an SSH key."""
    return {
        "id": one.id,
        "name": one.name,
        "fingerprint": one.fingerprint,
        "public_key": one.public_key,
        "labels": one.labels,
        "created": timestamp(one.created),
    }


def placement_group(cloud: Cloud, one: PlacementGroup) -> Json:
    """Return a placement group with the IDs of its servers."""
    members = [server.id for server in cloud.state.servers.values() if server.placement_group == one.id]
    return {
        "id": one.id,
        "name": one.name,
        "labels": one.labels,
        "type": one.type,
        "created": timestamp(one.created),
        "servers": members,
    }


def network(cloud: Cloud, one: Network) -> Json:
    """Return a network with the IDs of its attached servers."""
    members = [
        server.id
        for server in cloud.state.servers.values()
        if any(private_net.network == one.id and private_net.attached for private_net in server.private_nets)
    ]
    gateway = networks.gateway(one)
    return {
        "id": one.id,
        "name": one.name,
        "ip_range": one.ip_range,
        "subnets": [
            {
                "type": subnet.type,
                "ip_range": subnet.ip_range,
                "network_zone": subnet.network_zone,
                "gateway": gateway,
                "vswitch_id": None,
            }
            for subnet in one.subnets
        ],
        "routes": [{"destination": route.destination, "gateway": route.gateway} for route in one.routes],
        "servers": members,
        "load_balancers": [],
        "protection": {"delete": one.delete_protection},
        "labels": one.labels,
        "created": timestamp(one.created),
        "expose_routes_to_vswitch": one.expose_routes_to_vswitch,
    }


def firewall(cloud: Cloud, one: Firewall) -> Json:
    """Return a firewall with what it is applied to."""
    return {
        "id": one.id,
        "name": one.name,
        "labels": one.labels,
        "created": timestamp(one.created),
        "rules": [rule.model_dump() for rule in one.rules],
        "applied_to": [_applied_to(cloud, target) for target in one.applied_to],
    }


def primary_ip(one: PrimaryIp) -> Json:
    """Return a primary IP."""
    return {
        "id": one.id,
        "name": one.name,
        "labels": one.labels,
        "created": timestamp(one.created),
        "blocked": False,
        "location": location(catalog.location_named(one.location)),
        "ip": one.ip,
        "dns_ptr": [{"ip": one.ip, "dns_ptr": one.dns_ptr}],
        "protection": {"delete": one.delete_protection},
        "type": "ipv4",
        "auto_delete": one.auto_delete,
        "assignee_type": "server",
        "assignee_id": one.assignee_id,
    }


def server(cloud: Cloud, one: Server) -> Json:
    """Return a server with everything that is nested in it."""
    kind = servers.type_of(one)
    group = cloud.state.placement_groups.get(one.placement_group) if one.placement_group is not None else None
    return {
        "id": one.id,
        "name": one.name,
        "status": one.status,
        "created": timestamp(one.created),
        "public_net": _public_net(cloud, one),
        "private_net": [
            {
                "network": private_net.network,
                "ip": private_net.ip,
                "alias_ips": private_net.alias_ips,
                "mac_address": private_net.mac_address,
            }
            for private_net in one.private_nets
            if private_net.attached
        ],
        "server_type": server_type(kind),
        "location": location(catalog.location_named(one.location)),
        "image": image(servers.image_of(one)),
        "iso": None,
        "rescue_enabled": False,
        "locked": cloud.is_locked("server", one.id),
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": INCLUDED_TRAFFIC_BYTES,
        "protection": {"delete": one.delete_protection, "rebuild": one.rebuild_protection},
        "labels": one.labels,
        "volumes": [],
        "load_balancers": [],
        "primary_disk_size": kind.disk,
        "placement_group": placement_group(cloud, group) if group is not None else None,
    }


def _applied_to(cloud: Cloud, target: AppliedTo) -> Json:
    if target.label_selector is None:
        return {"type": "server", "server": {"id": target.server}}
    return {
        "type": "label_selector",
        "label_selector": {"selector": target.label_selector},
        "applied_to_resources": [
            {"type": "server", "server": {"id": one.id}}
            for one in firewalls.selected_servers(cloud, target.label_selector)
        ],
    }


def _public_net(cloud: Cloud, one: Server) -> Json:
    address = cloud.public_address(one)
    ipv4 = None
    if address is not None:
        ipv4 = {"id": address.id, "ip": address.ip, "blocked": False, "dns_ptr": address.dns_ptr}
    return {
        "ipv4": ipv4,
        "ipv6": None,
        "floating_ips": [],
        "firewalls": [{"id": number, "status": status} for number, status in sorted(one.firewalls.items())],
    }
