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


def action(deed: Action, now: datetime, expected_seconds: float) -> Json:
    """Return an action; its progress is told from the time it has run."""
    return {
        "id": deed.id,
        "command": deed.command,
        "status": deed.status,
        "progress": progress_percent(deed, now, expected_seconds),
        "started": timestamp(deed.started),
        "finished": timestamp(deed.finished),
        "resources": [{"id": resource.id, "type": resource.type} for resource in deed.resources],
        "error": {"code": deed.error.code, "message": deed.error.message} if deed.error is not None else None,
    }


def location(entry: Location) -> Json:
    """Return a location."""
    return {
        "id": entry.id,
        "name": entry.name,
        "description": entry.description,
        "country": entry.country,
        "city": entry.city,
        "latitude": entry.latitude,
        "longitude": entry.longitude,
        "network_zone": entry.network_zone,
    }


def server_type(entry: ServerType) -> Json:
    """Prices are zero: the stand-in bills nothing."""
    price = {"net": "0.0000000000", "gross": "0.0000000000"}
    places = [place for place in catalog.LOCATIONS if place.name in entry.locations]
    return {
        "id": entry.id,
        "name": entry.name,
        "description": entry.name.upper(),
        "category": entry.category,
        "cores": entry.cores,
        "memory": entry.memory,
        "disk": entry.disk,
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
        "cpu_type": entry.cpu_type,
        "architecture": entry.architecture,
        "locations": [
            _sold_in(place, entry) for place in catalog.LOCATIONS if place.name in entry.locations + entry.ended_in
        ],
    }


_ENDED = {"announced": "2025-10-16T06:00:00Z", "unavailable_after": "2025-12-31T23:59:59Z"}


def _sold_in(place: Location, entry: ServerType) -> Json:
    """A place with what the API says of a server type there."""
    sold = place.name in entry.locations
    return {
        "id": place.id,
        "name": place.name,
        "deprecation": None if sold else _ENDED,
        "available": sold,
        "recommended": sold,
    }


def image(entry: Image) -> Json:
    """Return an image."""
    return {
        "id": entry.id,
        "type": "system",
        "status": "available",
        "name": entry.name,
        "description": entry.description,
        "image_size": None,
        "disk_size": 5,
        "created": _IMAGE_CREATED,
        "created_from": None,
        "bound_to": None,
        "os_flavor": entry.os_flavor,
        "os_version": entry.os_version,
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": None,
        "deleted": None,
        "labels": {},
        "architecture": entry.architecture,
    }


def ssh_key(resource: SshKey) -> Json:
    """Return an SSH key."""
    return {
        "id": resource.id,
        "name": resource.name,
        "fingerprint": resource.fingerprint,
        "public_key": resource.public_key,
        "labels": resource.labels,
        "created": timestamp(resource.created),
    }


def placement_group(cloud: Cloud, resource: PlacementGroup) -> Json:
    """Return a placement group with the IDs of its servers."""
    members = [server.id for server in cloud.state.servers.values() if server.placement_group == resource.id]
    return {
        "id": resource.id,
        "name": resource.name,
        "labels": resource.labels,
        "type": resource.type,
        "created": timestamp(resource.created),
        "servers": members,
    }


def network(cloud: Cloud, resource: Network) -> Json:
    """Return a network with the IDs of its attached servers."""
    members = [
        server.id
        for server in cloud.state.servers.values()
        if any(private_net.network == resource.id and private_net.attached for private_net in server.private_nets)
    ]
    gateway = networks.gateway(resource)
    return {
        "id": resource.id,
        "name": resource.name,
        "ip_range": resource.ip_range,
        "subnets": [
            {
                "type": subnet.type,
                "ip_range": subnet.ip_range,
                "network_zone": subnet.network_zone,
                "gateway": gateway,
                "vswitch_id": None,
            }
            for subnet in resource.subnets
        ],
        "routes": [{"destination": route.destination, "gateway": route.gateway} for route in resource.routes],
        "servers": members,
        "load_balancers": [],
        "protection": {"delete": resource.delete_protection},
        "labels": resource.labels,
        "created": timestamp(resource.created),
        "expose_routes_to_vswitch": resource.expose_routes_to_vswitch,
    }


def firewall(cloud: Cloud, resource: Firewall) -> Json:
    """Return a firewall with what it is applied to."""
    return {
        "id": resource.id,
        "name": resource.name,
        "labels": resource.labels,
        "created": timestamp(resource.created),
        "rules": [rule.model_dump() for rule in resource.rules],
        "applied_to": [_applied_to(cloud, target) for target in resource.applied_to],
    }


def primary_ip(resource: PrimaryIp) -> Json:
    """Return a primary IP."""
    return {
        "id": resource.id,
        "name": resource.name,
        "labels": resource.labels,
        "created": timestamp(resource.created),
        "blocked": False,
        "location": location(catalog.location_named(resource.location)),
        "ip": resource.ip,
        "dns_ptr": [{"ip": resource.ip, "dns_ptr": resource.dns_ptr}],
        "protection": {"delete": resource.delete_protection},
        "type": "ipv4",
        "auto_delete": resource.auto_delete,
        "assignee_type": "server",
        "assignee_id": resource.assignee_id,
    }


def server(cloud: Cloud, resource: Server) -> Json:
    """Return a server with everything that is nested in it."""
    kind = servers.type_of(resource)
    group = cloud.state.placement_groups.get(resource.placement_group) if resource.placement_group is not None else None
    return {
        "id": resource.id,
        "name": resource.name,
        "status": resource.status,
        "created": timestamp(resource.created),
        "public_net": _public_net(cloud, resource),
        "private_net": [
            {
                "network": private_net.network,
                "ip": private_net.ip,
                "alias_ips": private_net.alias_ips,
                "mac_address": private_net.mac_address,
            }
            for private_net in resource.private_nets
            if private_net.attached
        ],
        "server_type": server_type(kind),
        "location": location(catalog.location_named(resource.location)),
        "image": image(servers.image_of(resource)),
        "iso": None,
        "rescue_enabled": False,
        "locked": cloud.is_locked("server", resource.id),
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": INCLUDED_TRAFFIC_BYTES,
        "protection": {"delete": resource.delete_protection, "rebuild": resource.rebuild_protection},
        "labels": resource.labels,
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
            {"type": "server", "server": {"id": member.id}}
            for member in firewalls.selected_servers(cloud, target.label_selector)
        ],
    }


def _public_net(cloud: Cloud, resource: Server) -> Json:
    address = cloud.public_address(resource)
    ipv4 = None
    if address is not None:
        ipv4 = {"id": address.id, "ip": address.ip, "blocked": False, "dns_ptr": address.dns_ptr}
    return {
        "ipv4": ipv4,
        "ipv6": None,
        "floating_ips": [],
        "firewalls": [{"id": number, "status": status} for number, status in sorted(resource.firewalls.items())],
    }
