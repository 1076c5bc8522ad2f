"""Operations on servers. Pure: what has to happen to machines is named in the actions' work and done by the runner."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from lab.standins.hetzner_api import catalog, errors, firewalls, primary_ips, private_nets, requests
from lab.standins.hetzner_api.catalog import Image, Location, ServerType
from lab.standins.hetzner_api.cloud import Cloud, require_unique_name, set_name_and_labels
from lab.standins.hetzner_api.records import (
    Action,
    CreateMachine,
    DestroyMachine,
    PlugNetwork,
    PrimaryIp,
    RebootMachine,
    RebuildMachine,
    Server,
    StartMachine,
    StopMachine,
    UnplugNetwork,
    Work,
)

SERVERS_PER_PLACEMENT_GROUP_LIMIT = 10
MACHINE_NAME_LIMIT_CHARACTERS = 48
DEFAULT_LOCATION = "fsn1"


@dataclass(frozen=True)
class Created:
    """The answer to POST /servers: the actions run one after the other."""

    server: Server
    action: Action
    next_actions: list[Action]


def create(cloud: Cloud, body: requests.CreateServer, now: datetime, taken_machines: Collection[str]) -> Created:
    """Accept a server; `taken_machines` are names of machines that the lab has already."""
    require_unique_name(cloud.state.servers, "server", body.name)
    server_type, image, location = _placement(body)
    authorized_keys = [_ssh_key(cloud, wanted) for wanted in body.ssh_keys or []]
    for reference in body.firewalls or []:
        cloud.firewall(reference.firewall)
    networks = [cloud.network(number) for number in body.networks or []]
    if body.placement_group is not None:
        _require_room(cloud, body.placement_group)
    public_net = body.public_net or requests.PublicNet()
    given = _given_address(cloud, public_net, location)
    if body.firewalls and not public_net.enable_ipv4:
        raise errors.unprocessable("private_net_only_server", "server has no public network interface")
    if not public_net.enable_ipv4 and not networks and body.start_after_create:
        raise errors.invalid_input({"public_net": ["a server without public network cannot be started"]})

    number = cloud.new_id()
    taken = {other.machine for other in cloud.state.servers.values()} | set(taken_machines)
    machine = _machine_name(body.name)
    server = Server(
        id=number,
        name=body.name,
        created=now,
        labels=dict(body.labels or {}),
        machine=machine if machine not in taken else f"{machine}-{number}",
        server_type=server_type.name,
        image=image.id,
        location=location.name,
        authorized_keys=authorized_keys,
        user_data=body.user_data,
        placement_group=body.placement_group,
    )
    for network in networks:
        server.private_nets.append(
            private_nets.place(cloud, server, network, requests.AttachToNetwork(network=network.id))
        )
    cloud.state.servers[number] = server
    if given is not None:
        given.assignee_id = number
    elif public_net.enable_ipv4:
        address = primary_ips.new_address(cloud, None, location.name, now)
        address.auto_delete = True
        address.assignee_id = number
    firewalls.apply_at_creation(cloud, server, [reference.firewall for reference in body.firewalls or []])

    action = _action(cloud, "create_server", server, now, CreateMachine(server=number))
    next_actions = []
    for network in networks:
        work = PlugNetwork(server=number, network=network.id)
        resources = [("server", number), ("network", network.id)]
        next_actions.append(cloud.start_action("attach_to_network", resources, now, work))  # type: ignore[arg-type]
    if body.start_after_create:
        next_actions.append(_action(cloud, "start_server", server, now, StartMachine(server=number)))
    return Created(server=server, action=action, next_actions=next_actions)


def update(cloud: Cloud, server: Server, body: requests.UpdateServer, now: datetime) -> list[Action]:
    """Change name and labels at once; changed labels can start firewall actions. The machine keeps its host name."""
    set_name_and_labels(cloud.state.servers, "server", server, body)
    if body.labels is None:
        return []
    return firewalls.reconcile(cloud, now)


def delete(cloud: Cloud, server: Server, now: datetime) -> Action:
    """Remove the server with all that belongs to it alone; it is there until the action ends."""
    if server.delete_protection:
        raise errors.protected("server")
    cloud.require_unlocked_server(server)
    server.status = "deleting"
    return _action(cloud, "delete_server", server, now, DestroyMachine(server=server.id))


def power_on(cloud: Cloud, server: Server, now: datetime) -> Action:
    """Boot the server."""
    cloud.require_unlocked_server(server)
    return _action(cloud, "start_server", server, now, StartMachine(server=server.id))


def power_off(cloud: Cloud, server: Server, now: datetime) -> Action:
    """Stop the server hard."""
    cloud.require_unlocked_server(server)
    return _action(cloud, "stop_server", server, now, StopMachine(server=server.id, graceful=False))


def shut_down(cloud: Cloud, server: Server, now: datetime) -> Action:
    """Stop the server by its own init."""
    cloud.require_unlocked_server(server)
    return _action(cloud, "shutdown_server", server, now, StopMachine(server=server.id, graceful=True))


def reboot(cloud: Cloud, server: Server, now: datetime) -> Action:
    """Restart the server by its own init."""
    cloud.require_unlocked_server(server)
    return _action(cloud, "reboot_server", server, now, RebootMachine(server=server.id, graceful=True))


def reset(cloud: Cloud, server: Server, now: datetime) -> Action:
    """Restart the server hard."""
    cloud.require_unlocked_server(server)
    return _action(cloud, "reset_server", server, now, RebootMachine(server=server.id, graceful=False))


def rebuild(cloud: Cloud, server: Server, body: requests.RebuildServer, now: datetime) -> Action:
    """Overwrite the server's disk with an image and boot it; id, addresses and private networks stay."""
    if server.rebuild_protection:
        raise errors.protected("server")
    cloud.require_unlocked_server(server)
    image = catalog.find(catalog.IMAGES, body.image)
    architecture = type_of(server).architecture
    if image is not None and body.image == image.name:
        image = catalog.find(catalog.images_for(architecture), body.image)
    if image is None:
        raise errors.invalid_input({"image": ["image not found"]})
    if image.architecture != architecture:
        raise errors.invalid_input({"image": ["incompatible with the architecture of the server type"]})
    if body.user_data is None:
        raise errors.unprocessable("unsupported_error", "the lab keeps no user data, so a rebuild has to bring it")
    server.image = image.id
    server.user_data = body.user_data
    return _action(cloud, "rebuild_server", server, now, RebuildMachine(server=server.id))


def attach_to_network(cloud: Cloud, server: Server, body: requests.AttachToNetwork, now: datetime) -> Action:
    """Reserve the address at once; the interface appears in the machine when the action ends."""
    cloud.require_unlocked_server(server)
    network = cloud.network(body.network)
    server.private_nets.append(private_nets.place(cloud, server, network, body))
    return cloud.start_action(
        "attach_to_network",
        [("server", server.id), ("network", network.id)],
        now,
        PlugNetwork(server=server.id, network=network.id),
    )


def detach_from_network(cloud: Cloud, server: Server, body: requests.DetachFromNetwork, now: datetime) -> Action:
    """Take the interface of a network away; the address is free when the action ends."""
    cloud.require_unlocked_server(server)
    private_nets.of(server, body.network)
    return cloud.start_action(
        "detach_from_network",
        [("server", server.id), ("network", body.network)],
        now,
        UnplugNetwork(server=server.id, network=body.network),
    )


def change_alias_ips(cloud: Cloud, server: Server, body: requests.ChangeAliasIps, now: datetime) -> Action:
    """Replace the alias IPs in a network; recorded only."""
    cloud.require_unlocked_server(server)
    private_net = private_nets.of(server, body.network)
    network = cloud.network(body.network)
    others = private_nets.used_addresses(cloud, network) - {ipaddress.IPv4Address(ip) for ip in private_net.alias_ips}
    for ip in body.alias_ips:
        private_nets.require_available(cloud, network, server, ip, others)
    private_net.alias_ips = list(body.alias_ips)
    return cloud.start_action("change_alias_ips", [("server", server.id), ("network", network.id)], now)


def change_protection(cloud: Cloud, server: Server, body: requests.ChangeServerProtection, now: datetime) -> Action:
    """Protect the server against deletion and rebuild, or no longer."""
    if body.delete is not None and body.rebuild is not None:
        server.delete_protection = body.delete
        server.rebuild_protection = body.rebuild
    return cloud.start_action("change_protection", [("server", server.id)], now, exclusive=False)


def add_to_placement_group(cloud: Cloud, server: Server, body: requests.AddToPlacementGroup, now: datetime) -> Action:
    """Put a stopped server into a group."""
    cloud.require_unlocked_server(server)
    _require_room(cloud, body.placement_group)
    if server.placement_group is not None:
        raise errors.unprocessable("already_in_placement_group", "server is already part of a placement group")
    _require_stopped(server)
    server.placement_group = body.placement_group
    resources = [("server", server.id), ("placement_group", body.placement_group)]
    return cloud.start_action("add_to_placement_group", resources, now)  # type: ignore[arg-type]


def remove_from_placement_group(cloud: Cloud, server: Server, now: datetime) -> Action:
    """Take the server out of its group."""
    cloud.require_unlocked_server(server)
    if server.placement_group is None:
        raise errors.unprocessable("service_error", "server is not part of a placement group")
    server.placement_group = None
    return _action(cloud, "remove_from_placement_group", server, now)


def change_type(cloud: Cloud, server: Server, body: requests.ChangeType, now: datetime) -> Action:
    """Change the type of a stopped server, and boot it: Hetzner starts it on the new host by itself (API reference,
    "Change the Type of a Server"). Nothing else of the machine changes.
    """
    cloud.require_unlocked_server(server)
    _require_stopped(server)
    wanted = catalog.find(catalog.SERVER_TYPES, body.server_type)
    current = catalog.find(catalog.SERVER_TYPES, server.server_type)
    if wanted is None or current is None:
        raise errors.invalid_input({"server_type": ["server type not found"]})
    if wanted.architecture != current.architecture or server.location not in wanted.locations:
        raise errors.unprocessable("invalid_server_type", "the server type does not fit for the given server")
    server.server_type = wanted.name
    return _action(cloud, "change_server_type", server, now, StartMachine(server=server.id))


def change_dns_pointer(cloud: Cloud, server: Server, body: requests.ChangeDnsPointer, now: datetime) -> Action:
    """Record the reverse name of the server's address."""
    address = cloud.public_address(server)
    if address is None or address.ip != body.ip:
        raise errors.invalid_input({"ip": ["is not an address of the server"]})
    address.dns_ptr = body.dns_ptr or ""
    return cloud.start_action("change_dns_ptr", [("server", server.id)], now, exclusive=False)


def image_of(server: Server) -> Image:
    """Return the server's image."""
    image = catalog.find(catalog.IMAGES, server.image)
    if image is None:
        raise ValueError(f"server {server.id} has the unknown image {server.image}")
    return image


def type_of(server: Server) -> ServerType:
    """Return the server's type."""
    server_type = catalog.find(catalog.SERVER_TYPES, server.server_type)
    if server_type is None:
        raise ValueError(f"server {server.id} has the unknown server type {server.server_type}")
    return server_type


def _machine_name(name: str) -> str:
    """Return a server's name as the name of a machine: lower-case letters, digits and hyphens."""
    return name.lower().replace(".", "-")[:MACHINE_NAME_LIMIT_CHARACTERS].strip("-")


def _placement(body: requests.CreateServer) -> tuple[ServerType, Image, Location]:
    server_type = catalog.find(catalog.SERVER_TYPES, body.server_type)
    location = catalog.find(catalog.LOCATIONS, DEFAULT_LOCATION if body.location is None else body.location)
    problems = {}
    if server_type is None:
        problems["server_type"] = ["server type not found"]
    if location is None:
        problems["location"] = ["location not found"]
    image = catalog.find(catalog.IMAGES, body.image)
    if image is not None and server_type is not None and body.image == image.name:
        image = catalog.find(catalog.images_for(server_type.architecture), body.image)
    if image is None:
        problems["image"] = ["image not found"]
    if server_type is None or location is None or image is None:
        raise errors.invalid_input(problems)
    if image.architecture != server_type.architecture:
        raise errors.invalid_input({"image": ["incompatible with the architecture of the server type"]})
    if location.name not in server_type.locations:
        raise errors.invalid_input({"server_type": ["unsupported location for server type"]})
    return server_type, image, location


def _ssh_key(cloud: Cloud, id_or_name: int | str) -> str:
    for key in cloud.state.ssh_keys.values():
        if id_or_name in (key.id, key.name) or id_or_name == str(key.id):
            return key.public_key
    raise errors.invalid_input({"ssh_keys": [f"SSH key {id_or_name} not found"]})


def _given_address(cloud: Cloud, public_net: requests.PublicNet, location: Location) -> PrimaryIp | None:
    if public_net.ipv6 is not None:
        raise errors.unprocessable("unsupported_error", "the lab has no IPv6")
    if public_net.ipv4 is None:
        return None
    address = cloud.primary_ip(public_net.ipv4)
    if address.assignee_id is not None:
        raise errors.unprocessable("primary_ip_assigned", "the specified primary IP is already assigned to a server")
    if address.location != location.name:
        raise errors.unprocessable("primary_ip_datacenter_mismatch", "the primary IP is in a different location")
    return address


def _require_room(cloud: Cloud, placement_group: int) -> None:
    cloud.placement_group(placement_group)
    members = [server for server in cloud.state.servers.values() if server.placement_group == placement_group]
    if len(members) >= SERVERS_PER_PLACEMENT_GROUP_LIMIT:
        raise errors.unprocessable("placement_error", "the placement group is full")


def _require_stopped(server: Server) -> None:
    if server.status != "off":
        raise errors.unprocessable("server_not_stopped", "the action requires a stopped server")


def _action(cloud: Cloud, command: str, server: Server, now: datetime, work: Work | None = None) -> Action:
    return cloud.start_action(command, [("server", server.id)], now, work)
