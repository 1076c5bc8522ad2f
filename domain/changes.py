"""What can't be changed while a cluster runs: settings compared with the outputs that the stack's last update left.

It owns the list of such settings and their reasons. It doesn't know how the outputs are read. A stack that was never
raised, or was destroyed, has no outputs, and everything may change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from domain.plan import AddressPlan, address_plan
from domain.problems import Problem
from domain.settings import StackSettings

NETWORK_OUTPUT: Final = "network"
"""Output of a stack: the addresses with which its cluster was raised, as :func:`network_output` gives them."""

_RANGES: Final = {
    "pod_cidr": "every node holds a part of it, and the peers route it",
    "service_cidr": "the addresses of all services and the API's certificate come from it",
    "node_cidr": "the machines have their addresses in it",
    "hetzner_network": "the servers' private network is made with it",
    "cluster_dns": "the DNS service has this address, and every pod asks it",
}
_SETTINGS: Final = {"hetzner_network": "hetzner.network_cidr"}


def network_output(plan: AddressPlan, hetzner_network: IPv4Network | None) -> dict[str, str]:
    """What a later update is compared with: plain data for a stack output."""
    values = {
        "pod_cidr": plan.pod_cidr,
        "service_cidr": plan.service_cidr,
        "node_cidr": plan.node_cidr,
        "cluster_dns": plan.cluster_dns,
        "hetzner_network": hetzner_network,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def changes_refused(outputs: Mapping[str, Any], settings: StackSettings) -> list[Problem]:
    """What the settings would change although the cluster runs. ``outputs`` are the stack's, as its last update left
    them; what is missing in them, or has another form, is not compared.
    """
    return [*_addresses(outputs, settings), *_nodes(outputs, settings), *_servers(outputs, settings)]


def _addresses(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    hetzner = settings.hetzner
    wanted = network_output(address_plan(settings), None if hetzner is None else hetzner.network_cidr)
    given = {**_part(outputs, "link"), **_part(outputs, NETWORK_OUTPUT)}
    if settings.on_premise is not None:
        # The LAN of machines that exist may be described better at any time; their addresses count, see below.
        given.pop("node_cidr", None)
    if given.get("service_cidr") != wanted["service_cidr"]:
        given.pop("cluster_dns", None)  # it follows, and one message is enough
    for name, reason in _RANGES.items():
        runs, value = given.get(name), wanted.get(name)
        if isinstance(runs, str) and value is not None and _is_address(runs) and runs != value:
            setting = _SETTINGS.get(name, f"network.{name}")
            yield _refused(settings.stack, setting, value, runs, reason)


def _nodes(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """Nodes that stay keep their addresses: k3s and Cilium know a node by it."""
    machines = settings.on_premise.machines if settings.on_premise is not None else ()
    for index, machine in enumerate(machines):
        runs = _part(outputs, "node_ips").get(machine.name)
        if isinstance(runs, str) and _is_address(runs) and runs != str(machine.address):
            setting = f"on_premise.machines.{index}.address"
            rule = f"is not {runs}, with which the node {machine.name} runs; k3s and Cilium know the node by it"
            fix = f"write {runs} again, or give the machine another name, so that it leaves and joins anew"
            yield Problem(settings.stack, setting, str(machine.address), rule, fix)


def _servers(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """Hetzner servers that exist keep their first settings, and etcd keeps its majority."""
    if settings.hetzner is None:
        return
    pattern = re.compile(re.escape(settings.stack) + r"-server-[0-9]{1,2}", re.ASCII)
    before = sum(bool(pattern.fullmatch(name)) for name in _part(outputs, "node_ips") if isinstance(name, str))
    after = settings.hetzner.control_plane.count
    setting, value = "hetzner.control_plane.count", str(after)
    if before == 1 and after > 1:
        rule = (
            "is more than the 1 with which the cluster was raised; its datastore is one that no other server can join"
        )
        fix = f"write 1 again, or raise the cluster anew: {_anew(settings.stack)}"
        yield Problem(settings.stack, setting, value, rule, fix)
    elif after < before // 2 + 1:
        rule = f"leaves no majority of the {before} servers that run; etcd would stop, and the API with it"
        yield Problem(settings.stack, setting, value, rule, f"take at least {before // 2 + 1}")


def _refused(stack: str, setting: str, value: str, runs: str, reason: str) -> Problem:
    rule = f"is not {runs}, with which the cluster runs; {reason}"
    return Problem(stack, setting, value, rule, f"write {runs} again, or raise the cluster anew: {_anew(stack)}")


def _anew(stack: str) -> str:
    return f"`pulumi destroy -s {stack}`, then `pulumi up -s {stack}`"


def _part(outputs: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    part = outputs.get(name)
    return part if isinstance(part, Mapping) else {}


def _is_address(text: str) -> bool:
    for kind in (IPv4Network, IPv4Address):
        try:
            kind(text)
        except ValueError:
            continue
        return True
    return False
