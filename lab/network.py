"""The lab's networks: the Internet, private networks, sites behind a NAT; all are network namespaces with veth pairs.

The Internet is a router, `isthmus-wan`: every public host hangs on its own veth with a /32 address and a default
route over 172.31.1.1, as at Hetzner, so hosts see each other through a router and never as neighbours. Addresses that
nobody has are unreachable, not silent. A private network or a LAN is a namespace with a bridge `br0`.

No interface is ever made in the host's own namespace. This module knows nothing of machines; it gets names of
namespaces.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from lab import state, topology
from lab.commands import run
from lab.errors import CommandFailed
from lab.firewall import FirewallRule, render_firewalls
from lab.topology import PREFIX, WAN_NAMESPACE

PUBLIC_GATEWAY = IPv4Address("172.31.1.1")
"""The next hop of every public host, the same one on each link. It is the one that Hetzner uses."""

BRIDGE = "br0"
NAT_RULES = Path(__file__).parent / "files" / "nat-router.nft"

_SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    # A namespace takes the host's present values over; these are a Debian machine's.
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/bridge/bridge-nf-call-iptables": "0",
}


def create_namespace(name: str, *, forward: bool = False) -> None:
    """Makes the network namespace with its loopback up; no error if it is there."""
    if exists(name):
        try:
            _loopback_up(name)
        except CommandFailed:
            # A name without a namespace behind it: `ip netns add` was killed in between.
            run(["ip", "netns", "delete", name])
    if not exists(name):
        state.record_namespace(name)
        run(["ip", "netns", "add", name])
        _loopback_up(name)
    set_sysctls(name, _SYSCTLS | ({"net/ipv4/ip_forward": "1"} if forward else {}))


def _loopback_up(name: str) -> None:
    run(["ip", "-netns", name, "link", "set", "lo", "up"])


def delete_namespace(name: str) -> None:
    """Removes the namespace and with it all its interfaces; no error if it is not there."""
    if exists(name):
        run(["ip", "netns", "delete", name])
    state.forget_namespace(name)


def exists(name: str) -> bool:
    """True when there is a network namespace of that name."""
    return (state.NETNS_DIRECTORY / name).exists()


def enter(name: str, argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` in the network namespace.

    Not `ip netns exec`: that makes a mount namespace as well, with a new /sys in which no cgroup is mounted.
    """
    return ["nsenter", f"--net={state.NETNS_DIRECTORY / name}", *argv]


def set_sysctls(namespace: str, values: dict[str, str]) -> None:
    """Writes settings below /proc/sys; those under net/ are the ones of the namespace. Missing ones are left out."""
    present = {name: value for name, value in values.items() if Path("/proc/sys", name).exists()}
    script = 'while [ $# -gt 0 ]; do echo "$2" > "/proc/sys/$1"; shift 2; done'
    run(enter(namespace, ["sh", "-euc", script, "sysctl", *(word for pair in present.items() for word in pair)]))


# The Internet


def create_internet() -> None:
    """The Internet's router, and the namespace of the services with their public addresses."""
    create_namespace(WAN_NAMESPACE, forward=True)
    # Those of a lab that goes on: its servers' firewalls must not fall by a second call.
    set_firewalls(_firewalls())
    create_namespace(topology.SERVICES_NAMESPACE)
    attach_public(topology.SERVICES_NAMESPACE, *topology.SERVICE_ADDRESSES)


def attach_public(
    namespace: str, address: IPv4Address, *more: IPv4Address, ifname: str = "eth0", mtu: int = 1500
) -> None:
    """Gives the namespace an interface on the Internet with these addresses and the default route.

    What it has of that already stays, what was killed half-way is completed; another namespace's link with that address
    is taken over.
    """
    port = public_port(address)
    added: list[str] = []
    if not (has_link(namespace, ifname) and has_link(WAN_NAMESPACE, port)):
        detach(address)
        added = [f"link add {port} mtu {mtu} type veth peer name {ifname} mtu {mtu} netns {namespace}"]
    batch(
        WAN_NAMESPACE,
        [
            *added,
            f"address replace {PUBLIC_GATEWAY}/32 dev {port}",
            f"link set {port} up",
            *(f"route replace {public_address}/32 dev {port}" for public_address in (address, *more)),
        ],
    )
    batch(
        namespace,
        [
            *(f"address replace {public_address}/32 dev {ifname}" for public_address in (address, *more)),
            f"link set {ifname} up",
            f"route replace default via {PUBLIC_GATEWAY} dev {ifname} src {address} onlink",
        ],
    )


def detach(address: IPv4Address) -> None:
    """Takes the interface with this public address away from whoever has it; no error if nobody has it."""
    delete_link(WAN_NAMESPACE, public_port(address))


def public_port(address: IPv4Address) -> str:
    """The name of the Internet router's interface towards a public host."""
    return f"pub-{address.packed[2]}-{address.packed[3]}"


def set_firewall(address: IPv4Address, rules: Iterable[FirewallRule] | None) -> None:
    """Enforces these rules, and nothing else, on a public address; None takes the firewall away. See `lab.firewall`."""
    with state.locked("firewalls.lock"):
        firewalls = _firewalls()
        if rules is None:
            firewalls.pop(address, None)
        else:
            firewalls[address] = tuple(rules)
        _enforce(firewalls)


def set_firewalls(firewalls: dict[IPv4Address, tuple[FirewallRule, ...]]) -> None:
    """Replaces the firewalls of all addresses."""
    with state.locked("firewalls.lock"):
        _enforce(firewalls)


def _enforce(firewalls: dict[IPv4Address, tuple[FirewallRule, ...]]) -> None:
    run(enter(WAN_NAMESPACE, ["nft", "-f", "-"]), text=render_firewalls(firewalls))
    state.write_json(
        _firewalls_path(), {str(address): [vars(rule) for rule in rules] for address, rules in firewalls.items()}
    )


def _firewalls() -> dict[IPv4Address, tuple[FirewallRule, ...]]:
    def rule(fields: dict[str, Any]) -> FirewallRule:
        lists = {name: tuple(fields[name]) for name in ("source_ips", "destination_ips")}
        return FirewallRule(**{**fields, **lists})

    record = state.read_json(_firewalls_path()) or {}
    return {IPv4Address(address): tuple(map(rule, rules)) for address, rules in record.items()}


def _firewalls_path() -> Path:
    return state.STATE / "firewalls.json"


# Private networks and sites


def create_bridge(namespace: str, *, mtu: int = 1500, address: IPv4Interface | None = None) -> None:
    """Makes the namespace with a bridge, which gets ``address`` if one is given; no error if it is there.

    ``mtu`` is the bridge's own; it matters only with an address.
    """
    create_namespace(namespace)
    lines = []
    if not has_link(namespace, BRIDGE):
        lines += [f"link add {BRIDGE} mtu {mtu} type bridge forward_delay 0 stp_state 0"]
    lines += [f"address replace {address} dev {BRIDGE}"] if address else []
    batch(namespace, [*lines, f"link set {BRIDGE} up"])


def plug(
    bridge_namespace: str,
    namespace: str,
    ifname: str,
    address: IPv4Interface,
    *,
    mtu: int = 1500,
    gateway: IPv4Address | None = None,
    mac_address: str | None = None,
) -> str:
    """Connects the namespace to the bridge by an interface with this address; returns its MAC address.

    An interface of that name stays when it is there, and is completed. With a gateway it carries the default route.
    """
    port = bridge_port(namespace, ifname)
    added: list[str] = []
    if not (has_link(namespace, ifname) and has_link(bridge_namespace, port)):
        delete_link(bridge_namespace, port)
        mac = f"address {mac_address} " if mac_address else ""
        added = [f"link add {port} mtu {mtu} type veth peer name {ifname} {mac}mtu {mtu} netns {namespace}"]
    batch(bridge_namespace, [*added, f"link set {port} master {BRIDGE}", f"link set {port} up"])
    lines = [f"address replace {address} broadcast + dev {ifname}", f"link set {ifname} up"]
    lines += [f"route replace default via {gateway} dev {ifname}"] if gateway else []
    batch(namespace, lines)
    shown = json.loads(run(["ip", "-json", "-netns", namespace, "link", "show", "dev", ifname]))
    return str(shown[0]["address"])


def unplug(bridge_namespace: str, namespace: str, ifname: str) -> None:
    """Takes the interface away; no error if it is not there."""
    delete_link(bridge_namespace, bridge_port(namespace, ifname))


def bridge_port(namespace: str, ifname: str) -> str:
    """The name of the bridge's port towards an interface: a name has at most 15 characters, so it is a digest."""
    return f"port-{hashlib.sha256(f'{namespace}/{ifname}'.encode()).hexdigest()[:10]}"


def create_site(name: str, wan_address: IPv4Address, lan: IPv4Network) -> str:
    """A LAN behind a NAT router with random ports and no way in; returns the router's namespace, which has the bridge.

    The router is the LAN's first address.
    """
    namespace = f"{PREFIX}{name}-nat"
    gateway = IPv4Interface(f"{next(lan.hosts())}/{lan.prefixlen}")
    create_bridge(namespace, address=gateway)
    attach_public(namespace, wan_address, ifname="wan0")
    # The rules first: not for a moment does it forward without them.
    run(enter(namespace, ["nft", "-f", str(NAT_RULES)]))
    set_sysctls(namespace, {"net/ipv4/ip_forward": "1"})
    return namespace


def create_workstation(site: topology.OnPremiseSite, others: Iterable[topology.OnPremiseSite] = ()) -> None:
    """The namespace that a person's commands run in: at a desk in one site's LAN, with a leg in those of the others.

    A leg is what a management network is to a real person: the way to machines that nobody else reaches. No packet
    goes from one LAN to another by it.
    """
    create_namespace(topology.WORKSTATION_NAMESPACE)
    for number, reached in enumerate((site, *others)):
        plug(
            reached.nat_namespace,
            topology.WORKSTATION_NAMESPACE,
            f"eth{number}",
            reached.interface(reached.workstation_address),
            gateway=reached.gateway if reached is site else None,
        )


def create_all(lab_topology: topology.Topology = topology.DEFAULT) -> None:
    """Everything of the topology that is there before the first machine."""
    create_internet()
    for site in lab_topology.on_premise:
        create_site(site.name, site.public_address, site.ranges.nodes)
    create_workstation(
        lab_topology.workstation_site,
        [site for site in lab_topology.on_premise if site is not lab_topology.workstation_site],
    )


# Tools


def has_link(namespace: str, ifname: str) -> bool:
    """True when the namespace has an interface of that name."""
    try:
        run(["ip", "-netns", namespace, "link", "show", "dev", ifname])
    except CommandFailed:
        return False
    return True


def delete_link(namespace: str, ifname: str) -> None:
    """Deletes an interface, and with it its other end; no error if it is not there."""
    if exists(namespace):
        with contextlib.suppress(CommandFailed):
            run(["ip", "-netns", namespace, "link", "delete", "dev", ifname])


def batch(namespace: str, lines: Sequence[str]) -> None:
    """Runs several `ip` commands in the namespace; the first that fails ends it."""
    run(["ip", "-netns", namespace, "-batch", "-"], text="".join(f"{line}\n" for line in lines))
