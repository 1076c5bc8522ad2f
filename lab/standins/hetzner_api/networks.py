"""Operations on networks, their subnets and routes. Pure; changes take effect when their action ends (`effects`)."""

from __future__ import annotations

import ipaddress
from datetime import datetime

from lab.standins.hetzner_api import errors, requests
from lab.standins.hetzner_api.catalog import NETWORK_ZONES
from lab.standins.hetzner_api.cloud import Cloud, require_unique_name, set_name_and_labels
from lab.standins.hetzner_api.records import (
    Action,
    AddRoute,
    AddSubnet,
    ChangeIpRange,
    DeleteRoute,
    DeleteSubnet,
    Network,
    RemoveNetwork,
    Route,
    Subnet,
)

MINIMUM_NETWORK_PREFIX = 24
MINIMUM_SUBNET_PREFIX = 30
DEFAULT_SUBNET_PREFIX = 24
PUBLIC_GATEWAY = ipaddress.IPv4Address("172.31.1.1")


def create(cloud: Cloud, body: requests.CreateNetwork, now: datetime) -> Network:
    """Make a network with the subnets and routes of the body, all or nothing."""
    require_unique_name(cloud.state.networks, "network", body.name)
    if ipaddress.IPv4Network(body.ip_range).prefixlen > MINIMUM_NETWORK_PREFIX:
        raise errors.invalid_input({"ip_range": [f"must be at least a /{MINIMUM_NETWORK_PREFIX}"]})
    network = Network(
        id=0,
        name=body.name,
        created=now,
        labels=dict(body.labels),
        ip_range=body.ip_range,
        expose_routes_to_vswitch=body.expose_routes_to_vswitch,
    )
    for subnet in body.subnets:
        network.subnets.append(_checked_subnet(network, subnet))
    for route in body.routes:
        network.routes.append(_checked_route(network, route))
    network.id = cloud.new_id()
    cloud.state.networks[network.id] = network
    return network


def update(cloud: Cloud, network: Network, body: requests.UpdateNetwork) -> Network:
    """Change name, labels and vSwitch exposure at once."""
    cloud.require_unchanging_network(network)
    set_name_and_labels(cloud.state.networks, "network", network, body)
    if body.expose_routes_to_vswitch is not None:
        network.expose_routes_to_vswitch = body.expose_routes_to_vswitch
    return network


def delete(cloud: Cloud, network: Network, now: datetime) -> Action:
    """Take the network away at once; servers are detached in the background, as the API does."""
    if network.delete_protection:
        raise errors.protected("network")
    cloud.require_unchanging_network(network)
    attached = []
    for server in cloud.state.servers.values():
        for private_net in server.private_nets:
            if private_net.network == network.id:
                cloud.require_unlocked_server(server)
                attached.append((server.machine, private_net.interface))
    for server in cloud.state.servers.values():
        server.private_nets = [net for net in server.private_nets if net.network != network.id]
    del cloud.state.networks[network.id]
    work = RemoveNetwork(network=network.id, attached=attached)
    return cloud.start_action("delete_network", [("network", network.id)], now, work, exclusive=False)


def change_protection(cloud: Cloud, network: Network, body: requests.ChangeProtection, now: datetime) -> Action:
    """Protect the network against deletion, or no longer."""
    if body.delete is not None:
        network.delete_protection = body.delete
    return cloud.start_action("change_protection", [("network", network.id)], now, exclusive=False)


def add_subnet(cloud: Cloud, network: Network, body: requests.SubnetBody, now: datetime) -> Action:
    """Check a subnet and add it when the action ends."""
    cloud.require_unchanging_network(network)
    subnet = _checked_subnet(network, body)
    work = AddSubnet(network=network.id, ip_range=subnet.ip_range, network_zone=subnet.network_zone)
    return cloud.start_action("add_subnet", [("network", network.id)], now, work)


def delete_subnet(cloud: Cloud, network: Network, body: requests.SubnetRange, now: datetime) -> Action:
    """Delete a subnet in which no server is."""
    cloud.require_unchanging_network(network)
    if body.ip_range not in [subnet.ip_range for subnet in network.subnets]:
        raise errors.not_found("subnet", body.ip_range)
    subnet = ipaddress.IPv4Network(body.ip_range)
    for server in cloud.state.servers.values():
        for private_net in server.private_nets:
            if private_net.network == network.id and ipaddress.IPv4Address(private_net.ip) in subnet:
                # The Hetzner provider recognises this case by the words "servers are attached".
                raise errors.unprocessable("service_error", "cannot remove subnet because servers are attached to it")
    work = DeleteSubnet(network=network.id, ip_range=body.ip_range)
    return cloud.start_action("delete_subnet", [("network", network.id)], now, work)


def add_route(cloud: Cloud, network: Network, body: requests.RouteBody, now: datetime) -> Action:
    """Check a route and add it when the action ends."""
    cloud.require_unchanging_network(network)
    route = _checked_route(network, body)
    work = AddRoute(network=network.id, destination=route.destination, gateway=route.gateway)
    return cloud.start_action("add_route", [("network", network.id)], now, work)


def delete_route(cloud: Cloud, network: Network, body: requests.RouteBody, now: datetime) -> Action:
    """Delete a route."""
    cloud.require_unchanging_network(network)
    if Route(destination=body.destination, gateway=body.gateway) not in network.routes:
        raise errors.not_found("route", body.destination)
    work = DeleteRoute(network=network.id, destination=body.destination, gateway=body.gateway)
    return cloud.start_action("delete_route", [("network", network.id)], now, work)


def change_ip_range(cloud: Cloud, network: Network, body: requests.SubnetRange, now: datetime) -> Action:
    """Extend a network: only its netmask may change, and only to a larger range."""
    cloud.require_unchanging_network(network)
    old, new = ipaddress.IPv4Network(network.ip_range), ipaddress.IPv4Network(body.ip_range)
    if new.network_address != old.network_address or new.prefixlen > old.prefixlen:
        raise errors.invalid_input({"ip_range": [f"must extend {old}, IP ranges cannot be moved or shrunk"]})
    work = ChangeIpRange(network=network.id, ip_range=body.ip_range)
    return cloud.start_action("change_ip_range", [("network", network.id)], now, work)


def gateway(network: Network) -> str:
    """Return the address that is every subnet's gateway: the first one of the network."""
    return str(ipaddress.IPv4Network(network.ip_range).network_address + 1)


def _checked_subnet(network: Network, body: requests.SubnetBody) -> Subnet:
    if body.network_zone not in NETWORK_ZONES:
        raise errors.invalid_input({"network_zone": [f"must be one of {', '.join(sorted(NETWORK_ZONES))}"]})
    whole = ipaddress.IPv4Network(network.ip_range)
    taken = [ipaddress.IPv4Network(subnet.ip_range) for subnet in network.subnets]
    if body.ip_range is None:
        prefix = max(DEFAULT_SUBNET_PREFIX, whole.prefixlen)
        free = (
            candidate
            for candidate in whole.subnets(new_prefix=prefix)
            if not any(candidate.overlaps(other) for other in taken)
        )
        wanted = next(free, None)
        if wanted is None:
            raise errors.unprocessable("service_error", f"no free /{prefix} is left in {whole}")
    else:
        wanted = ipaddress.IPv4Network(body.ip_range)
    problems = []
    if not wanted.subnet_of(whole):
        problems.append(f"must be a subnet of the network's range {whole}")
    if wanted.prefixlen > MINIMUM_SUBNET_PREFIX:
        problems.append(f"must be at least a /{MINIMUM_SUBNET_PREFIX}")
    problems += [f"overlaps with the subnet {other}" for other in taken if wanted.overlaps(other)]
    problems += [
        f"overlaps with the route to {route.destination}"
        for route in network.routes
        if route.destination != "0.0.0.0/0" and wanted.overlaps(ipaddress.IPv4Network(route.destination))
    ]
    if problems:
        raise errors.invalid_input({"ip_range": problems})
    return Subnet(ip_range=str(wanted), network_zone=body.network_zone, type="cloud")


def _checked_route(network: Network, body: requests.RouteBody) -> Route:
    destination, next_hop = ipaddress.IPv4Network(body.destination), ipaddress.IPv4Address(body.gateway)
    problems: dict[str, list[str]] = {}
    if body.destination != "0.0.0.0/0":
        others = [subnet.ip_range for subnet in network.subnets]
        others += [route.destination for route in network.routes if route.destination != "0.0.0.0/0"]
        for other in others:
            if destination.overlaps(ipaddress.IPv4Network(other)):
                problems.setdefault("destination", []).append(f"overlaps with {other}")
        if PUBLIC_GATEWAY in destination:
            problems.setdefault("destination", []).append(f"must not contain {PUBLIC_GATEWAY}")
    elif any(route.destination == body.destination for route in network.routes):
        problems["destination"] = ["is there already"]
    if next_hop not in ipaddress.IPv4Network(network.ip_range):
        problems["gateway"] = [f"must lie in the network's range {network.ip_range}"]
    elif body.gateway == gateway(network) or next_hop == PUBLIC_GATEWAY:
        problems["gateway"] = ["must not be the first address of the network"]
    if problems:
        raise errors.invalid_input(problems)
    return Route(destination=body.destination, gateway=body.gateway)
