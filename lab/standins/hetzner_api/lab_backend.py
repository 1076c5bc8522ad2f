"""Servers as machines of the lab: the edge to `lab.machines` and `lab.network`. Needs root and a lab."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address

from lab import machines, network, programs, state
from lab.errors import LabError
from lab.firewall import FirewallRule
from lab.standins.hetzner_api.backend import BackendError, FirewallPolicy, MachineRequest, PrivateInterface
from lab.topology import PREFIX

NETWORK_NAMESPACE_PREFIX = f"{PREFIX}hnet-"

# What a server without user data gets: cloud-init runs all the same, as at Hetzner.
NO_USER_DATA = "#cloud-config\n{}\n"


class LabBackend:
    """See `backend.MachineBackend`. A machine counts as started once its init runs, as a server does at Hetzner."""

    def __init__(self) -> None:
        self._bridges = threading.Lock()

    def machine_names(self) -> frozenset[str]:
        """Return the names of all machines, and what else has a namespace that a machine of that name would need."""
        namespaces = {path.name.removeprefix(PREFIX) for path in state.NETNS_DIRECTORY.glob(f"{PREFIX}*")}
        return frozenset(machines.list_machines()) | namespaces

    def create(self, machine: MachineRequest) -> None:
        """Make the machine with its public interface."""
        interfaces = () if machine.public_address is None else (machines.Public(address=machine.public_address),)
        spec = machines.MachineSpec(
            name=machine.name,
            hostname=machine.hostname,
            interfaces=interfaces,
            user_data=machine.user_data if machine.user_data is not None else NO_USER_DATA,
            authorized_keys=machine.authorized_keys,
            # Not laid out where the stand-in is tried alone.
            binds=(programs.bind(),) if programs.directory().is_dir() else (),
        )
        with _lab_errors():
            machines.create(spec)

    def start(self, name: str) -> None:
        """Switch the machine on. Its user data may take much longer, and wait for what is plugged in later."""
        with _lab_errors():
            machines.start(name)

    def stop(self, name: str, *, graceful: bool) -> None:
        """Switch the machine off."""
        with _lab_errors():
            machines.stop(name, graceful=graceful)

    def destroy(self, name: str) -> None:
        """Remove the machine."""
        with _lab_errors():
            machines.destroy(name)

    def plug(self, name: str, interface: PrivateInterface) -> str | None:
        """Make the network's bridge if it is the first, and connect the machine to it."""
        bridge = network_namespace(interface.network)
        with _lab_errors():
            with self._bridges:
                network.create_bridge(bridge, mtu=interface.mtu)
            return machines.plug(
                name,
                machines.Bridged(
                    bridge_namespace=bridge,
                    ifname=interface.name,
                    address=interface.address,
                    mtu=interface.mtu,
                    mac_address=interface.mac_address,
                ),
            )

    def unplug(self, name: str, interface: str, network_id: int) -> None:
        """Take the interface away; no error if the machine is gone."""
        with _lab_errors():
            if name in machines.list_machines():
                machines.unplug(name, interface)

    def remove_network(self, network_id: int) -> None:
        """Remove the network's bridge."""
        with _lab_errors(), self._bridges:
            network.delete_namespace(network_namespace(network_id))

    def set_firewall(self, address: IPv4Address, policy: FirewallPolicy | None) -> None:
        """Enforce the policy on the Internet's router."""
        with _lab_errors():
            network.set_firewall(address, None if policy is None else _rules(policy))

    def running(self, name: str) -> bool:
        """Tell whether the machine's init runs."""
        return machines.running(name)


def network_namespace(network_id: int) -> str:
    """Return the namespace that carries the private network with this ID."""
    return f"{NETWORK_NAMESPACE_PREFIX}{network_id}"


def _rules(policy: FirewallPolicy) -> list[FirewallRule]:
    return [
        FirewallRule(
            direction=rule.direction,
            protocol=rule.protocol,
            port=rule.port,
            source_ips=tuple(rule.source_ips),
            destination_ips=tuple(rule.destination_ips),
        )
        for rule in policy.rules
    ]


@contextlib.contextmanager
def _lab_errors() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        raise BackendError(str(error)) from error
