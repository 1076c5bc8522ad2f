"""The interfaces of a machine, made and removed."""

from __future__ import annotations

from collections.abc import Sequence

from lab import network
from lab.machines.model import Interface, Public
from lab.machines.records import namespace


def connect(name: str, wanted: Sequence[Interface]) -> None:
    """The network namespace, and the interfaces in it; what is there stays."""
    network.create_namespace(namespace(name))
    for interface in wanted:
        connect_one(name, interface)


def connect_one(name: str, interface: Interface) -> str | None:
    """One interface; returns the MAC address of a bridged one."""
    if isinstance(interface, Public):
        network.attach_public(namespace(name), interface.address, ifname=interface.ifname)
        return None
    return network.plug(
        interface.bridge_namespace,
        namespace(name),
        interface.ifname,
        interface.address,
        mtu=interface.mtu,
        gateway=interface.gateway,
        mac_address=interface.mac_address,
    )


def darken(name: str, present: Sequence[Interface]) -> None:
    """Takes the machine's interfaces down where they are: from now on nothing leaves it, and nothing comes in."""
    network.batch(namespace(name), [f"link set {interface.ifname} down" for interface in present])


def disconnect(name: str, present: Sequence[Interface]) -> None:
    """Removes the interfaces and the namespace; the interfaces first, as those of a deleted namespace go later."""
    for interface in present:
        disconnect_one(name, interface)
    network.delete_namespace(namespace(name))


def disconnect_one(name: str, interface: Interface) -> None:
    """Removes one interface."""
    if isinstance(interface, Public):
        network.detach(interface.address)
    else:
        network.unplug(interface.bridge_namespace, namespace(name), interface.ifname)
