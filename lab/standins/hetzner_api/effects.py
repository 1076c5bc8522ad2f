"""From accepted work to calls of the backend, and from their outcome to the new state. Pure except for the calls it
returns.

`begin` says what to call, with all it needs taken out of the state, so the call can run in a thread. `finish` records
success; after a failure the state stays as it was, only the server's status follows the machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from lab.standins.hetzner_api import firewalls
from lab.standins.hetzner_api.backend import (
    BackendError,
    FirewallPolicy,
    MachineBackend,
    MachineRequest,
    PrivateInterface,
)
from lab.standins.hetzner_api.cloud import Cloud
from lab.standins.hetzner_api.records import (
    Action,
    AddRoute,
    AddSubnet,
    ChangeIpRange,
    CreateMachine,
    DeleteRoute,
    DeleteSubnet,
    DestroyMachine,
    EnforceFirewall,
    PlugNetwork,
    PrivateNet,
    RebootMachine,
    RebuildMachine,
    RemoveNetwork,
    Route,
    Server,
    StartMachine,
    StopMachine,
    Subnet,
    UnplugNetwork,
)


@dataclass(frozen=True)
class Outcome:
    """What a call tells back."""

    mac_address: str | None = None


Call = Callable[[MachineBackend], Outcome]


def machines_of(cloud: Cloud, action: Action) -> list[str]:
    """Return the machines that the action touches: actions on one machine run one after the other."""
    if isinstance(action.work, RemoveNetwork):
        return sorted({machine for machine, _ in action.work.attached})
    number = getattr(action.work, "server", None)
    server = cloud.state.servers.get(number) if number is not None else None
    return [server.machine] if server is not None else []


def begin(cloud: Cloud, action: Action) -> Call:
    """Return the call to make for a running action and mark its server; raise BackendError when its server is gone."""
    work = action.work
    match work:
        case CreateMachine():
            return _create_machine(cloud, _server(cloud, work.server))
        case StartMachine():
            server = _server(cloud, work.server)
            if server.status == "off":
                server.status = "starting"
            return _call(lambda backend: backend.start(server.machine))
        case StopMachine():
            server = _server(cloud, work.server)
            if server.status == "running":
                server.status = "stopping"
            return _call(lambda backend: backend.stop(server.machine, graceful=work.graceful))
        case RebootMachine():
            return _reboot(_server(cloud, work.server).machine, graceful=work.graceful)
        case RebuildMachine():
            server = _server(cloud, work.server)
            server.status = "rebuilding"
            return _rebuild(cloud, server)
        case DestroyMachine():
            return _destroy(cloud, _server(cloud, work.server))
        case PlugNetwork():
            server = _server(cloud, work.server)
            interface = _interface(_private_net(server, work.network))
            return lambda backend: Outcome(mac_address=backend.plug(server.machine, interface))
        case UnplugNetwork():
            server = _server(cloud, work.server)
            name = _private_net(server, work.network).interface
            return _call(lambda backend: backend.unplug(server.machine, name, work.network))
        case RemoveNetwork():
            return _remove_network(work)
        case EnforceFirewall():
            return _enforce(cloud, cloud.state.servers.get(work.server))
        case _:
            return _call(lambda backend: None)


def finish(cloud: Cloud, action: Action, outcome: Outcome) -> None:
    """Record in the state what the successful action has changed."""
    work = action.work
    match work:
        case CreateMachine():
            server = _server(cloud, work.server)
            server.status = "off"
            server.user_data = None
            server.firewalls = dict.fromkeys(server.firewalls, "applied")
        case StartMachine() | RebootMachine():
            _server(cloud, work.server).status = "running"
        case RebuildMachine():
            server = _server(cloud, work.server)
            server.status = "running"
            server.user_data = None
        case StopMachine():
            _server(cloud, work.server).status = "off"
        case DestroyMachine():
            _forget_server(cloud, _server(cloud, work.server))
        case PlugNetwork():
            private_net = _private_net(_server(cloud, work.server), work.network)
            private_net.attached = True
            private_net.mac_address = outcome.mac_address or private_net.mac_address
        case UnplugNetwork():
            _forget_private_net(_server(cloud, work.server), work.network)
        case EnforceFirewall():
            enforced_on = cloud.state.servers.get(work.server)
            if enforced_on is not None and work.firewall in enforced_on.firewalls:
                enforced_on.firewalls[work.firewall] = "applied"
        case _:
            _finish_network_change(cloud, action)


def abort(cloud: Cloud, action: Action, *, machine_runs: bool) -> None:
    """Bring the state back to the truth after a failure.

    A failed attachment is no attachment, and the server's status is what its machine is.
    """
    work = action.work
    number = getattr(work, "server", None)
    server = cloud.state.servers.get(number) if number is not None else None
    if server is None:
        return
    if isinstance(work, PlugNetwork):
        _forget_private_net(server, work.network)
    if action.exclusive:
        server.status = "running" if machine_runs else "off"


def _server(cloud: Cloud, number: int) -> Server:
    try:
        return cloud.state.servers[number]
    except KeyError:
        raise BackendError(f"server {number} is gone") from None


def _private_net(server: Server, network: int) -> PrivateNet:
    for private_net in server.private_nets:
        if private_net.network == network:
            return private_net
    raise BackendError(f"server {server.name} is not in network {network} any more")


def _forget_private_net(server: Server, network: int) -> None:
    server.private_nets = [private_net for private_net in server.private_nets if private_net.network != network]


def _call(action: Callable[[MachineBackend], None]) -> Call:
    def call(backend: MachineBackend) -> Outcome:
        action(backend)
        return Outcome()

    return call


def _interface(private_net: PrivateNet) -> PrivateInterface:
    return PrivateInterface(
        network=private_net.network,
        name=private_net.interface,
        address=ipaddress.IPv4Interface(f"{private_net.ip}/{private_net.prefix_length}"),
        mac_address=private_net.mac_address,
    )


def _public_address(cloud: Cloud, server: Server) -> ipaddress.IPv4Address | None:
    address = cloud.public_address(server)
    return ipaddress.IPv4Address(address.ip) if address is not None else None


def _policy(cloud: Cloud, server: Server) -> FirewallPolicy | None:
    rules = firewalls.effective_rules(cloud, server)
    return FirewallPolicy(tuple(rules)) if rules is not None else None


def _machine_request(cloud: Cloud, server: Server) -> MachineRequest:
    return MachineRequest(
        name=server.machine,
        hostname=server.name,
        public_address=_public_address(cloud, server),
        user_data=server.user_data,
        authorized_keys=tuple(server.authorized_keys),
    )


def _create_machine(cloud: Cloud, server: Server) -> Call:
    address, policy = _public_address(cloud, server), _policy(cloud, server)
    request = _machine_request(cloud, server)

    def call(backend: MachineBackend) -> Outcome:
        # The firewall stands before the machine is there: no moment in which a new server is open.
        if address is not None:
            backend.set_firewall(address, policy)
        backend.create(request)
        return Outcome()

    return call


def _rebuild(cloud: Cloud, server: Server) -> Call:
    """Its firewall is that of the public address, which stays."""
    request = _machine_request(cloud, server)
    interfaces = [_interface(private_net) for private_net in server.private_nets if private_net.attached]

    def call(backend: MachineBackend) -> Outcome:
        backend.destroy(request.name)
        backend.create(request)
        for interface in interfaces:
            backend.plug(request.name, interface)
        backend.start(request.name)
        return Outcome()

    return call


def _reboot(machine: str, *, graceful: bool) -> Call:
    def call(backend: MachineBackend) -> Outcome:
        backend.stop(machine, graceful=graceful)
        backend.start(machine)
        return Outcome()

    return call


def _destroy(cloud: Cloud, server: Server) -> Call:
    address = _public_address(cloud, server)

    def call(backend: MachineBackend) -> Outcome:
        backend.destroy(server.machine)
        if address is not None:
            backend.set_firewall(address, None)
        return Outcome()

    return call


def _remove_network(work: RemoveNetwork) -> Call:
    def call(backend: MachineBackend) -> Outcome:
        for machine, interface in work.attached:
            backend.unplug(machine, interface, work.network)
        backend.remove_network(work.network)
        return Outcome()

    return call


def _enforce(cloud: Cloud, server: Server | None) -> Call:
    address = _public_address(cloud, server) if server is not None else None
    if server is None or address is None or server.status == "deleting":
        return _call(lambda backend: None)
    policy = _policy(cloud, server)
    return _call(lambda backend: backend.set_firewall(address, policy))


def _forget_server(cloud: Cloud, server: Server) -> None:
    firewalls.forget_server(cloud, server)
    address = cloud.public_address(server)
    if address is not None:
        address.assignee_id = None
        if address.auto_delete:
            del cloud.state.primary_ips[address.id]
    del cloud.state.servers[server.id]


def _finish_network_change(cloud: Cloud, action: Action) -> None:
    work = action.work
    match work:
        case AddSubnet():
            subnet = Subnet(ip_range=work.ip_range, network_zone=work.network_zone)
            cloud.network(work.network).subnets.append(subnet)
        case DeleteSubnet():
            network = cloud.network(work.network)
            network.subnets = [subnet for subnet in network.subnets if subnet.ip_range != work.ip_range]
        case AddRoute():
            route = Route(destination=work.destination, gateway=work.gateway)
            cloud.network(work.network).routes.append(route)
        case DeleteRoute():
            network = cloud.network(work.network)
            gone = Route(destination=work.destination, gateway=work.gateway)
            network.routes = [route for route in network.routes if route != gone]
        case ChangeIpRange():
            cloud.network(work.network).ip_range = work.ip_range
        case _:
            pass
