"""Where machines come from: the interface that the runner uses, and an implementation in memory for tests."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass, field
from typing import Protocol

from lab.standins.hetzner_api.records import Rule

PRIVATE_NETWORK_MTU = 1450


class BackendError(Exception):
    """A machine could not be brought to the wanted state; the text becomes the action's error message."""


@dataclass(frozen=True)
class MachineRequest:
    """What a new machine gets. `user_data` holds secrets: never log it."""

    name: str
    hostname: str
    public_address: ipaddress.IPv4Address | None
    user_data: str | None = field(repr=False)
    authorized_keys: tuple[str, ...]


@dataclass(frozen=True)
class PrivateInterface:
    """An interface in a private network, with its address and the subnet's prefix."""

    network: int
    name: str
    address: ipaddress.IPv4Interface
    mac_address: str
    mtu: int = PRIVATE_NETWORK_MTU


@dataclass(frozen=True)
class FirewallPolicy:
    """All rules that count on one public address. See `firewalls` for what no rule of a direction means."""

    rules: tuple[Rule, ...]


class MachineBackend(Protocol):
    """Makes servers real. Calls block; every one is idempotent, as an action is run again after a restart.

    Calls about one machine come one after the other, calls about different machines at the same time.
    """

    def machine_names(self) -> frozenset[str]:
        """Return the names of all machines of the lab, those that are no servers too."""

    def create(self, machine: MachineRequest) -> None:
        """Make the machine, without starting it."""

    def start(self, name: str) -> None:
        """Boot the machine and return once it is up."""

    def stop(self, name: str, *, graceful: bool) -> None:
        """Stop the machine and return once it is off."""

    def destroy(self, name: str) -> None:
        """Stop the machine hard and remove it with its interfaces and files."""

    def plug(self, name: str, interface: PrivateInterface) -> str | None:
        """Add an interface to the machine, running or not; return its real MAC address where it is known."""

    def unplug(self, name: str, interface: str, network_id: int) -> None:
        """Take an interface away."""

    def remove_network(self, network_id: int) -> None:
        """Remove what carried the private network, once nothing is attached."""

    def set_firewall(self, address: ipaddress.IPv4Address, policy: FirewallPolicy | None) -> None:
        """Enforce a policy on a public address in place of the former one; None allows everything."""

    def running(self, name: str) -> bool:
        """Tell whether the machine runs."""


@dataclass
class MemoryMachine:
    """What `MemoryBackend` knows of a machine."""

    request: MachineRequest
    running: bool = False
    boots: int = 0
    interfaces: dict[str, PrivateInterface] = field(default_factory=dict)


class MemoryBackend:
    """Machines that exist only in memory: for tests of the API and of programs that use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.machines: dict[str, MemoryMachine] = {}
        self.firewalls: dict[ipaddress.IPv4Address, FirewallPolicy] = {}
        self.removed_networks: list[int] = []
        self.fail_next: dict[str, str] = {}

    def machine_names(self) -> frozenset[str]:
        """Return the names of the machines in memory."""
        return frozenset(self.machines)

    def create(self, machine: MachineRequest) -> None:
        """Remember the machine."""
        self._maybe_fail("create")
        with self._lock:
            self.machines.setdefault(machine.name, MemoryMachine(machine))

    def start(self, name: str) -> None:
        """Count a boot."""
        self._maybe_fail("start")
        machine = self._machine(name)
        if not machine.running:
            machine.running = True
            machine.boots += 1

    def stop(self, name: str, *, graceful: bool) -> None:
        """Mark the machine as off."""
        self._maybe_fail("stop")
        self._machine(name).running = False

    def destroy(self, name: str) -> None:
        """Forget the machine."""
        self._maybe_fail("destroy")
        with self._lock:
            self.machines.pop(name, None)

    def plug(self, name: str, interface: PrivateInterface) -> str | None:
        """Remember the interface."""
        self._maybe_fail("plug")
        self._machine(name).interfaces[interface.name] = interface
        return interface.mac_address

    def unplug(self, name: str, interface: str, network_id: int) -> None:
        """Forget the interface."""
        self._machine(name).interfaces.pop(interface, None)

    def remove_network(self, network_id: int) -> None:
        """Remember that the network was removed."""
        self.removed_networks.append(network_id)

    def set_firewall(self, address: ipaddress.IPv4Address, policy: FirewallPolicy | None) -> None:
        """Remember the policy."""
        self._maybe_fail("set_firewall")
        with self._lock:
            if policy is None:
                self.firewalls.pop(address, None)
            else:
                self.firewalls[address] = policy

    def running(self, name: str) -> bool:
        """Tell whether the machine was started."""
        return name in self.machines and self.machines[name].running

    def _machine(self, name: str) -> MemoryMachine:
        try:
            return self.machines[name]
        except KeyError:
            raise BackendError(f"machine {name} does not exist") from None

    def _maybe_fail(self, call: str) -> None:
        message = self.fail_next.pop(call, None)
        if message is not None:
            raise BackendError(message)
