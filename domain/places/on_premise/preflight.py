"""Whether machines of one's own can become nodes, before anything is changed on one of them.

It owns the rules. What a machine says of itself comes from ``machine_facts.py``; who asks it is the command line's.
Each rule gives its faults as problems of the machine in the stack file, so that they read like all others.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from domain.overlay import NETBIRD_INTERFACE
from domain.places.on_premise.machine_facts import MachineFacts
from domain.places.on_premise.model import Machine
from domain.problems import Problem

MEMORY_KIB: Final[Mapping[str, int]] = {"server": 1_900_000, "agent": 480_000}
"""What k3s asks for, 2 GB for a server and 512 MB for an agent, less what the kernel takes for itself
(https://docs.k3s.io/installation/requirements#hardware)."""
DISK_KIB: Final = 5 * 1024 * 1024
"""Free below /var/lib: k3s, and the images of Cilium, NetBird and CoreDNS unpacked."""
CLOCK_SECONDS: Final = 30
"""How far a clock may be from the median of all: certificates are valid from when a server made them, and etcd warns
beyond a second."""
KERNEL: Final = (5, 10)
"""The oldest kernel that Cilium 1.19 runs on (https://docs.cilium.io/en/v1.19/operations/system_requirements/)."""
SERVER_PORTS: Final = {6443: "the API", 2379: "etcd", 2380: "etcd", 6444: "k3s's load balancer"}
NODE_PORTS: Final = {10250: "the kubelet", 6444: "k3s's load balancer", 4240: "Cilium's health check"}
"""TCP ports of a node that have to be free, by role; agents have those of nodes alone."""
REACHED: Final = {"server": (6443, 10250), "agent": (10250,)}
"""TCP ports of a node that other nodes have to reach."""


@dataclass(frozen=True)
class Look:
    """Everything that is known: the machines of the stack file in their order, what those said that answered, and why
    the others could not be asked, as a rule and a fix.
    """

    stack: str
    machines: Sequence[Machine]
    facts: Mapping[str, MachineFacts]
    unasked: Mapping[str, tuple[str, str]]

    def each(self) -> Iterator[tuple[Machine, MachineFacts, str]]:
        """Machine, what it said, and where it stands in the stack file; those that answered."""
        for index, machine in enumerate(self.machines):
            if machine.name in self.facts:
                yield machine, self.facts[machine.name], f"on_premise.machines.{index}"

    def new(self) -> Iterator[tuple[Machine, MachineFacts, str]]:
        """Those of them where this program has not been at work."""
        return (answer for answer in self.each() if not answer[1].ours)

    def fault(self, place: str, machine: Machine, rule: str, fix: str) -> Problem:
        """A problem of that machine."""
        return Problem(self.stack, place, machine.name, rule, fix)


def could_be_asked(look: Look) -> Iterator[Problem]:
    """Every machine answers over SSH, proves who it is, and takes the key."""
    for index, machine in enumerate(look.machines):
        if machine.name in look.unasked:
            rule, fix = look.unasked[machine.name]
            yield look.fault(f"on_premise.machines.{index}", machine, rule, fix)


def may_become_root(look: Look) -> Iterator[Problem]:
    """The user is root, or may become root without a password."""
    for machine, facts, place in look.each():
        if not facts.root:
            rule = f"does not let {facts.user} become root by `sudo -n`, and what is installed is the system's"
            fix = f"allow it there: `{facts.user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d, or log in as root"
            yield look.fault(place, machine, rule, fix)


def right_architecture(look: Look) -> Iterator[Problem]:
    """k3s.sha256 is of the binary for x86-64."""
    for machine, facts, place in look.each():
        if facts.architecture != "x86_64":
            rule = f"is {facts.architecture}, and k3s.sha256 is the checksum of the binary for x86_64"
            yield look.fault(place, machine, rule, "take another machine")


def with_systemd(look: Look) -> Iterator[Problem]:
    """k3s is a unit of systemd."""
    for machine, facts, place in look.each():
        if not facts.systemd:
            rule = "does not run systemd, whose unit k3s is"
            yield look.fault(place, machine, rule, "take a distribution with systemd")


def kernel_for_cilium(look: Look) -> Iterator[Problem]:
    """The kernel is new enough, and has what carries packets between nodes and clusters."""
    for machine, facts, place in look.each():
        version = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", facts.kernel)
        if version and (int(version[1]), int(version[2])) < KERNEL:
            rule = f"runs the kernel {facts.kernel}, and Cilium needs {KERNEL[0]}.{KERNEL[1]} or a newer one"
            yield look.fault(place, machine, rule, "upgrade the kernel")
        if not facts.vxlan:
            rule = "has no vxlan in its kernel, by which the pods of two nodes reach each other"
            yield look.fault(place, machine, rule, "install the kernel's further modules (linux-modules-extra)")
        if machine.router and not facts.tun:
            rule = "has no /dev/net/tun and no module for it, and is a router, which needs one for wt0"
            yield look.fault(place, machine, rule, "load the module tun, or let another machine be the router")


def memory_is_counted(look: Look) -> Iterator[Problem]:
    """The kernel limits memory by control groups: without, the kubelet does not start."""
    for machine, facts, place in look.each():
        if not facts.memory_cgroup:
            rule = "has no control group for memory, without which the kubelet does not start"
            fix = "add `cgroup_memory=1 cgroup_enable=memory` to the kernel's command line, and reboot"
            yield look.fault(place, machine, rule, fix)


def has_its_address(look: Look) -> Iterator[Problem]:
    """The address in the stack file is one of the machine's own."""
    for machine, facts, place in look.each():
        if machine.address not in facts.addresses:
            own = (
                ", ".join(map(str, sorted(address for address in facts.addresses if not address.is_loopback)[:5]))
                or "none"
            )
            rule = f"has not got the address {machine.address}, by which the other nodes are to reach it; it has {own}"
            yield look.fault(f"{place}.address", machine, rule, "write the one of the nodes' network")


def told_apart(look: Look) -> Iterator[Problem]:
    """No two machines have the same machine-id or the same name: cloned ones do."""
    yield from _alike(
        look,
        "machine-id",
        {name: facts.machine_id for name, facts in look.facts.items()},
        "on one of the two: `rm /etc/machine-id && systemd-machine-id-setup`, then reboot",
    )
    yield from _alike(
        look,
        "host name",
        {name: facts.hostname for name, facts in look.facts.items()},
        "give one of the two another: `hostnamectl set-hostname NAME`",
    )


def _alike(look: Look, what: str, values: Mapping[str, str], fix: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for machine, _, place in look.each():
        value = values[machine.name]
        other = first.setdefault(value, machine.name) if value else machine.name
        if other != machine.name:
            rule = f"has the {what} of {other}, as a copy of a machine has; the two could not be told apart"
            yield look.fault(place, machine, rule, fix)


def clocks_agree(look: Look) -> Iterator[Problem]:
    """No clock is far from the others'."""
    clocks = [facts.seconds for _, facts, _ in look.each() if facts.seconds is not None]
    if not clocks:
        return
    middle = median(clocks)
    for machine, facts, place in look.each():
        if facts.seconds is not None and abs(off := facts.seconds - middle) > CLOCK_SECONDS:
            way = "ahead of" if off > 0 else "behind"
            rule = (
                f"has a clock {abs(off):.0f} s {way} the median of all machines, and up to {CLOCK_SECONDS} s are "
                "allowed: certificates would not be valid yet"
            )
            yield look.fault(place, machine, rule, "let it follow a time server: `timedatectl set-ntp true`")


def memory_and_disk(look: Look) -> Iterator[Problem]:
    """There is room for k3s, and for the images."""
    for machine, facts, place in look.new():
        least = MEMORY_KIB[machine.role or "agent"]
        if facts.memory_kib is not None and facts.memory_kib < least:
            rule = (
                f"has {facts.memory_kib // 1024} MiB of memory, and k3s asks for {least // 1024} as {machine.role} "
                "at least"
            )
            yield look.fault(place, machine, rule, "give it more, or take another machine")
        if facts.disk_kib is not None and facts.disk_kib < DISK_KIB:
            rule = (
                f"has {facts.disk_kib // 1024} MiB free below /var/lib, and k3s with its images takes "
                f"{DISK_KIB // 1024}"
            )
            yield look.fault(place, machine, rule, "make room there")


def tools_are_there(look: Look) -> Iterator[Problem]:
    """What the installer is made of is there."""
    for machine, facts, place in look.each():
        for tool in facts.missing:
            yield look.fault(place, machine, f"lacks {tool}, which the installer needs", "install it there")


FIREWALLS: Final = {
    "firewalld": "let the nodes in to each other: `firewall-cmd --permanent --zone=trusted --add-source={node_cidr} "
    "--add-source={pod_cidr} && firewall-cmd --reload`, or switch it off",
    "ufw": "let the nodes in to each other: `ufw allow from {node_cidr} && ufw allow from {pod_cidr} && "
    "ufw default allow routed`, or switch it off",
}
OTHERS: Final = {
    "docker": "sets packet filters that drop what is forwarded",
    "crio": "is another container runtime, and its settings of the network are read by the kubelet",
    "kubelet": "is a node of another cluster",
    "k0scontroller": "is a node of another cluster",
    "k0sworker": "is a node of another cluster",
    "rke2-server": "is a node of another cluster",
    "rke2-agent": "is a node of another cluster",
    "snap.microk8s.daemon-kubelite": "is a node of another cluster",
    "netbird": "has the interface, the routes and the packet filter that the router's agent makes",
    "tailscaled": "drops packets of 100.64.0.0/10, where NetBird's addresses are, from other interfaces than its own",
    "nm-cloud-setup.timer": "sets routes and rules of its own, before those of the nodes",
}
"""Units that stand in the way, with the reason."""


def firewall_is_off(look: Look, ranges: Mapping[str, str]) -> Iterator[Problem]:
    """No firewall of the machine drops what nodes say to each other. ``ranges`` are for the fix, see FIREWALLS."""
    for machine, facts, place in look.new():
        for unit in sorted(facts.units & FIREWALLS.keys()):
            rule = f"runs {unit}, which drops what the other nodes send, and what is forwarded for pods"
            yield look.fault(place, machine, rule, FIREWALLS[unit].format_map(ranges))


def nothing_else_runs(look: Look) -> Iterator[Problem]:
    """No other Kubernetes, container runtime or overlay network runs on a machine that becomes a node."""
    for machine, facts, place in look.new():
        for unit in sorted(facts.units & OTHERS.keys()):
            rule = f"runs {unit}, which {OTHERS[unit]}"
            yield look.fault(place, machine, rule, f"take it off the machine: `systemctl disable --now {unit}`")
        foreign = [unit for unit in ("k3s", "k3s-agent") if unit in facts.units]
        if foreign or "/etc/rancher" in facts.there or "/var/lib/rancher/k3s" in facts.there:
            rule = "has a k3s that this program did not install; its data would be lost"
            fix = "give that cluster by on_premise.kubeconfig, or take k3s off the machine: `k3s-uninstall.sh`"
            yield look.fault(place, machine, rule, fix)


def nothing_is_left(look: Look) -> Iterator[Problem]:
    """No other network of pods has left its files or interfaces."""
    for machine, facts, place in look.new():
        files = [path for path in facts.there if path.startswith("/etc/cni/net.d/")]
        if files:
            rule = f"has settings of another network of pods: {', '.join(files[:3])}"
            yield look.fault(place, machine, rule, "remove them, since the kubelet takes the first of them by name")
        links = sorted(
            link for link in facts.links if re.match(r"(cni0|flannel|cilium_|weave|kube-ipvs|vxlan\.calico)", link)
        )
        if links:
            rule = f"has interfaces of another network of pods: {', '.join(links[:3])}"
            yield look.fault(place, machine, rule, f"remove them: `ip link delete {links[0]}`, or reboot")
        if NETBIRD_INTERFACE in facts.links and "netbird" not in facts.units:
            rule = f"has an interface {NETBIRD_INTERFACE} already, which the router's agent makes"
            fix = f"find whose it is: `ip -d link show {NETBIRD_INTERFACE}`, and remove it"
            yield look.fault(place, machine, rule, fix)


def ports_are_free(look: Look) -> Iterator[Problem]:
    """Nobody else listens where the node will."""
    for machine, facts, place in look.new():
        wanted = {**NODE_PORTS, **SERVER_PORTS} if machine.role == "server" else NODE_PORTS
        for port in sorted(facts.listens & wanted.keys()):
            rule = f"has somebody who listens on TCP port {port}, which is for {wanted[port]}"
            yield look.fault(place, machine, rule, f"find who: `ss -ltnp 'sport = :{port}'`, and move or stop it")


def nodes_reach_each_other(look: Look) -> Iterator[Problem]:
    """What a node sends to another arrives: a port where nobody listens refuses at once, one behind a filter is
    silent.
    """
    names = {str(machine.address): machine.name for machine in look.machines}
    for machine, facts, place in look.each():
        by_target: dict[str, list[str]] = defaultdict(list)
        for silent in sorted(facts.silent):
            address, _, port = silent.rpartition(":")
            # Of one that could not be asked there is a word already.
            if (target := names.get(address, address)) not in look.unasked:
                by_target[target].append(port)
        for target, ports in by_target.items():
            what = "port" if len(ports) == 1 else "ports"
            rule = f"gets no answer from {target} on TCP {what} {', '.join(ports)}, not even a refusal"
            yield look.fault(
                place, machine, rule, f"let it through: the network between them, or the firewall of {target}"
            )


RULES: Final[tuple[Callable[[Look], Iterator[Problem]], ...]] = (
    could_be_asked,
    may_become_root,
    right_architecture,
    with_systemd,
    kernel_for_cilium,
    memory_is_counted,
    has_its_address,
    told_apart,
    clocks_agree,
    memory_and_disk,
    tools_are_there,
    nothing_else_runs,
    nothing_is_left,
    ports_are_free,
    nodes_reach_each_other,
)
"""All but :func:`firewall_is_off`, which needs the ranges as well."""


def faults(look: Look, *, node_cidr: str, pod_cidr: str) -> list[Problem]:
    """Everything that is wrong, by machine in the order of the stack file."""
    found = [problem for rule in RULES for problem in rule(look)]
    found += firewall_is_off(look, {"node_cidr": node_cidr, "pod_cidr": pod_cidr})
    places = {machine.name: index for index, machine in enumerate(look.machines)}
    return sorted(found, key=lambda problem: places[problem.value])


def remarks(look: Look, *, tunnel_port: int) -> list[str]:
    """What a person should know and nothing fails by. ``tunnel_port`` is that of ``cilium.tunnel_port``."""
    said = list(_tunnel_unheard(look, tunnel_port))
    for machine, facts, _ in look.each():
        if "systemd-networkd" in facts.units and not facts.foreign_routes:
            said.append(
                f"{machine.name}: systemd-networkd removes routes and rules that it did not make whenever it starts; "
                "the router's keeper puts NetBird's back. `ManageForeignRoutes=no` and "
                "`ManageForeignRoutingPolicyRules=no` in /etc/systemd/networkd.conf.d leave them alone"
            )
        if "NetworkManager" in facts.units:
            said.append(
                f"{machine.name}: NetworkManager takes over interfaces that it finds; "
                "`unmanaged-devices=interface-name:cilium_*;interface-name:lxc*;interface-name:wt0` in "
                "/etc/NetworkManager/conf.d keeps it off them"
            )
    return said


def _tunnel_unheard(look: Look, port: int) -> Iterator[str]:
    """Where a packet of the tunnel between nodes may be lost. No fault, since a network may let packets through and
    keep the refusal back; where somebody listens there is none, and where TCP is silent too there is a word already.
    """
    others = {str(machine.address): machine.name for machine, facts, _ in look.new() if port not in facts.hears}
    for machine, facts, _ in look.each():
        closed = {place.rpartition(":")[0] for place in facts.silent}
        addresses = {place.rpartition(":")[0] for place in facts.unheard if place.endswith(f":{port}")}
        lost = sorted(others[address] for address in addresses - closed if address in others)
        if lost:
            yield (
                f"{machine.name}: {', '.join(lost)} did not refuse what it sent to UDP port {port}, where nobody "
                "listens yet; if the network or a firewall between them drops it, as VMware's NSX does with 8472, pods "
                "of the two do not reach each other: let it through, or take another port with cilium.tunnel_port"
            )


def tried(machines: Sequence[Machine], machine: Machine, *, tunnel_port: int) -> list[str]:
    """What a machine tries to reach of the others: ADDRESS:PORT of TCP, and udp:ADDRESS:PORT of UDP, where the tunnel
    between the nodes will be.
    """
    others = [other for other in machines if other.name != machine.name]
    places = [f"{other.address}:{port}" for other in others for port in REACHED[other.role or "agent"]]
    return [*places, *(f"udp:{other.address}:{tunnel_port}" for other in others)]
