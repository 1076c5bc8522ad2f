"""The places of servers in private networks: which address one gets, which it may ask for, on which interface."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from lab.standins.hetzner_api import catalog, errors, requests
from lab.standins.hetzner_api.cloud import Cloud
from lab.standins.hetzner_api.records import Network, PrivateNet, Server

# Interfaces are called as on Hetzner's current servers: the first private network is enp7s0.
FIRST_PRIVATE_INTERFACE = 7
NETWORKS_PER_SERVER_LIMIT = 3


def of(server: Server, network: int) -> PrivateNet:
    """The server's place in that network; ApiError when it has none."""
    for private_net in server.private_nets:
        if private_net.network == network:
            return private_net
    raise errors.not_found("attached network", network)


def place(cloud: Cloud, server: Server, network: Network, body: requests.AttachToNetwork) -> PrivateNet:
    """The place that a server gets in a network, nothing changed yet; ApiError when it can't have it."""
    if any(private_net.network == network.id for private_net in server.private_nets):
        raise errors.unprocessable("server_already_attached", "server is already attached to the network")
    if len(server.private_nets) >= NETWORKS_PER_SERVER_LIMIT:
        raise errors.ApiError(403, "resource_limit_exceeded", "server network limit exceeded")
    for private_net in server.private_nets:
        other = ipaddress.IPv4Network(cloud.network(private_net.network).ip_range)
        if other.overlaps(ipaddress.IPv4Network(network.ip_range)):
            raise errors.unprocessable("networks_overlap", f"the network overlaps with {other} of the server")
    used = used_addresses(cloud, network)
    if body.ip is None:
        ip = next(_free_addresses(cloud, network, server, body.ip_range, used), None)
        if ip is None:
            raise errors.unprocessable("no_subnet_available", "no subnet or IP is available within the network")
    else:
        ip = ipaddress.IPv4Address(body.ip)
        require_available(cloud, network, server, body.ip, used)
        if body.ip_range is not None and ip not in ipaddress.IPv4Network(body.ip_range):
            raise errors.invalid_input({"ip": [f"is not part of {body.ip_range}"]})
    for alias in body.alias_ips or []:
        require_available(cloud, network, server, alias, used | {ip})
    subnet = next(subnet for subnet in _usable_subnets(network, server) if ip in subnet)
    slots = {private_net.interface for private_net in server.private_nets}
    candidates = (f"enp{number}s0" for number in range(FIRST_PRIVATE_INTERFACE, FIRST_PRIVATE_INTERFACE + 8))
    return PrivateNet(
        network=network.id,
        ip=str(ip),
        prefix_length=subnet.prefixlen,
        alias_ips=list(body.alias_ips or []),
        mac_address=_mac_address(network.id, ip),
        interface=next(name for name in candidates if name not in slots),
    )


def _usable_subnets(network: Network, server: Server) -> list[ipaddress.IPv4Network]:
    zone = catalog.location_named(server.location).network_zone
    return [ipaddress.IPv4Network(subnet.ip_range) for subnet in network.subnets if subnet.network_zone == zone]


def used_addresses(cloud: Cloud, network: Network) -> set[ipaddress.IPv4Address]:
    """Return what no further server can have: the gateway and everything that servers have in this network."""
    used = {ipaddress.IPv4Network(network.ip_range).network_address + 1}
    for server in cloud.state.servers.values():
        for private_net in server.private_nets:
            if private_net.network == network.id:
                used |= {ipaddress.IPv4Address(ip) for ip in (private_net.ip, *private_net.alias_ips)}
    return used


def _free_addresses(
    cloud: Cloud, network: Network, server: Server, ip_range: str | None, used: set[ipaddress.IPv4Address]
) -> Iterator[ipaddress.IPv4Address]:
    for subnet in _usable_subnets(network, server):
        if ip_range is None or str(subnet) == ip_range:
            yield from (address for address in subnet.hosts() if address not in used)


def require_available(
    cloud: Cloud, network: Network, server: Server, ip: str, used: set[ipaddress.IPv4Address]
) -> None:
    """ApiError unless the server can have that address of the network."""
    address = ipaddress.IPv4Address(ip)
    subnet = next((subnet for subnet in _usable_subnets(network, server) if address in subnet), None)
    if subnet is None:
        raise errors.unprocessable("ip_not_available", f"IP {ip} is in no subnet of the server's network zone")
    if address in used or address in (subnet.network_address, subnet.broadcast_address):
        raise errors.unprocessable("ip_not_available", f"IP {ip} is not available")


def _mac_address(network: int, ip: ipaddress.IPv4Address) -> str:
    """Return a MAC address in the range that Hetzner uses for private networks, the same for the same place."""
    octets = [0x86, 0x00, network & 0xFF, *ip.packed[1:]]
    return ":".join(f"{octet:02x}" for octet in octets)
