"""Operations on primary IPs: the public IPv4 addresses of servers. Pure; IPv6 is refused."""

from __future__ import annotations

import ipaddress
from datetime import datetime

from lab.standins.hetzner_api import catalog, errors, requests
from lab.standins.hetzner_api.cloud import PUBLIC_RANGE, Cloud, require_unique_name, set_name_and_labels
from lab.standins.hetzner_api.records import Action, PrimaryIp, Server


def create(cloud: Cloud, body: requests.CreatePrimaryIp, now: datetime) -> tuple[PrimaryIp, Action | None]:
    """Reserve an address, assigned to a stopped server when the body says so."""
    require_unique_name(cloud.state.primary_ips, "primary IP", body.name)
    if body.type != "ipv4":
        raise errors.unprocessable("unsupported_error", "the lab has no IPv6")
    server = None
    if body.assignee_id is not None:
        server = _assignable(cloud, body.assignee_id)
        location = server.location
    elif body.location is not None:
        found = catalog.find(catalog.LOCATIONS, body.location)
        if found is None:
            raise errors.invalid_input({"location": ["location not found"]})
        location = found.name
    else:
        raise errors.invalid_input({"location": ["is required without assignee_id"]})
    address = new_address(cloud, body.name, location, now)
    address.labels = dict(body.labels or {})
    address.auto_delete = body.auto_delete
    if server is None:
        return address, None
    address.assignee_id = server.id
    return address, _action(cloud, "assign_primary_ip", address, now)


def new_address(cloud: Cloud, name: str | None, location: str, now: datetime) -> PrimaryIp:
    """Take the lowest free public address from .101 upward; without a name it is called after its ID."""
    taken = {ipaddress.IPv4Address(primary_ip.ip) for primary_ip in cloud.state.primary_ips.values()}
    free = (
        address for address in PUBLIC_RANGE.hosts() if address >= cloud.first_public_address and address not in taken
    )
    ip = next(free, None)
    if ip is None:
        raise errors.ApiError(412, "resource_unavailable", f"no address is left in {PUBLIC_RANGE}")
    number = cloud.new_id()
    dns_name = f"static.{'.'.join(reversed(str(ip).split('.')))}.clients.isthmus.lab"
    address = PrimaryIp(
        id=number, name=name or f"primary_ip-{number}", created=now, ip=str(ip), location=location, dns_ptr=dns_name
    )
    cloud.state.primary_ips[number] = address
    return address


def update(cloud: Cloud, address: PrimaryIp, body: requests.UpdatePrimaryIp) -> PrimaryIp:
    """Change name, labels and automatic deletion at once."""
    set_name_and_labels(cloud.state.primary_ips, "primary IP", address, body)
    if body.auto_delete is not None:
        address.auto_delete = body.auto_delete
    return address


def delete(cloud: Cloud, address: PrimaryIp) -> None:
    """Give back an address that is assigned to no server."""
    if address.delete_protection:
        raise errors.protected("primary IP")
    if address.assignee_id is not None:
        raise errors.unprocessable("must_be_unassigned", "primary IP must be unassigned before it can be deleted")
    del cloud.state.primary_ips[address.id]


def assign(cloud: Cloud, address: PrimaryIp, body: requests.AssignPrimaryIp, now: datetime) -> Action:
    """Assign the address to a stopped server of its location; recorded only."""
    if address.assignee_id is not None:
        raise errors.unprocessable("primary_ip_already_assigned", "primary IP is already assigned to a server")
    server = _assignable(cloud, body.assignee_id)
    if server.location != address.location:
        raise errors.invalid_input({"assignee_id": [f"server is in {server.location}, not in {address.location}"]})
    address.assignee_id = server.id
    return _action(cloud, "assign_primary_ip", address, now)


def unassign(cloud: Cloud, address: PrimaryIp, now: datetime) -> Action:
    """Take the address from its stopped server; recorded only."""
    if address.assignee_id is not None:
        _require_stopped(cloud, cloud.server(address.assignee_id))
    action = _action(cloud, "unassign_primary_ip", address, now)
    address.assignee_id = None
    return action


def change_protection(cloud: Cloud, address: PrimaryIp, body: requests.ChangeProtection, now: datetime) -> Action:
    """Protect the address against deletion, or no longer."""
    if body.delete is not None:
        address.delete_protection = body.delete
    return _action(cloud, "change_protection", address, now)


def change_dns_pointer(cloud: Cloud, address: PrimaryIp, body: requests.ChangeDnsPointer, now: datetime) -> Action:
    """Record the address's reverse name."""
    if body.ip != address.ip:
        raise errors.invalid_input({"ip": [f"must be {address.ip}"]})
    address.dns_ptr = body.dns_ptr or ""
    return _action(cloud, "change_dns_ptr", address, now)


def _assignable(cloud: Cloud, number: int) -> Server:
    server = cloud.server(number)
    _require_stopped(cloud, server)
    if cloud.public_address(server) is not None:
        raise errors.unprocessable("server_has_ipv4", "server already has an IPv4 address")
    return server


def _require_stopped(cloud: Cloud, server: Server) -> None:
    cloud.require_unlocked_server(server)
    if server.status != "off":
        raise errors.unprocessable("server_not_stopped", "server must be powered off")


def _action(cloud: Cloud, command: str, address: PrimaryIp, now: datetime) -> Action:
    return cloud.start_action(command, [("primary_ip", address.id)], now, exclusive=False)
