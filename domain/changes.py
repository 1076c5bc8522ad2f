"""What can't be changed while a cluster runs: settings compared with the outputs that the stack's last update left.

It owns the list of such settings and their reasons. It doesn't know how the outputs are read. A stack that was never
raised, or was destroyed, has no outputs, and everything may change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.plan import address_plan
from domain.problems import Problem
from domain.settings import StackSettings

RAISED_WITH: Final = "raised_with"
"""Output of a stack: what its cluster was raised with and can't leave, as :func:`raised_with` gives it."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9./:_-]{1,64}", re.ASCII)
"""What an output may hold to be shown in a message."""
_FIXED: Final = {
    "pod_cidr": ("network.pod_cidr", "every node holds a part of it, and the peers route it"),
    "service_cidr": (
        "network.service_cidr",
        "the addresses of all services and the API's certificate come from it",
    ),
    "node_cidr": ("network.node_cidr", "the machines have their addresses in it"),
    "cluster_dns": ("network.cluster_dns", "the DNS service has this address, and every pod asks it"),
    "hetzner_network": ("hetzner.network_cidr", "the servers' private network is made with it"),
    "hetzner_location": ("hetzner.location", "a server can't move, all of them would be made anew, empty"),
    "hetzner_zone": ("hetzner.network_zone", "the servers' private network is made in it"),
}
"""Settings behind the values of the output, with the reason why a change breaks a cluster that runs."""


def raised_with(settings: StackSettings) -> dict[str, str]:
    """What a later update is compared with: plain data for a stack output."""
    plan, hetzner = address_plan(settings), settings.hetzner
    values: dict[str, object] = {
        "pod_cidr": plan.pod_cidr,
        "service_cidr": plan.service_cidr,
        "node_cidr": plan.node_cidr,
        "cluster_dns": plan.cluster_dns,
    }
    if hetzner is not None:
        values |= {
            "hetzner_network": hetzner.network_cidr,
            "hetzner_location": hetzner.location,
            "hetzner_zone": hetzner.network_zone,
        }
    return {name: str(value) for name, value in values.items()}


def changes_refused(outputs: Mapping[str, Any], settings: StackSettings) -> list[Problem]:
    """What the settings would change although the cluster runs. ``outputs`` are the stack's, as its last update left
    them; what is missing in them, or has another form, is not compared.
    """
    if problem := _moved(outputs, settings):
        return [problem]
    return [*_fixed(outputs, settings), *_nodes(outputs, settings), *_servers(outputs, settings)]


def _moved(outputs: Mapping[str, Any], settings: StackSettings) -> Problem | None:
    """A cluster stays where it stands."""
    given = _part(outputs, RAISED_WITH)
    if not given or ("hetzner_network" in given) == (settings.hetzner is not None):
        return None
    here, there = ("hetzner", "on_premise") if settings.hetzner is not None else ("on_premise", "hetzner")
    rule = f"stands in the place of {there}, where the cluster runs; a cluster does not move"
    fix = f"write {there} again, or raise the cluster anew: {_anew(settings.stack)}"
    return Problem(settings.stack, here, "", rule, fix)


def _fixed(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    wanted = raised_with(settings)
    given = {**_part(outputs, "link"), **_part(outputs, RAISED_WITH)}
    if settings.on_premise is not None:
        # The LAN of machines that exist may be described better at any time; their addresses count, see below.
        given.pop("node_cidr", None)
    if given.get("service_cidr") != wanted["service_cidr"]:
        given.pop("cluster_dns", None)  # it follows, and one message is enough
    for name, (setting, reason) in _FIXED.items():
        runs, value = given.get(name), wanted.get(name)
        if isinstance(runs, str) and value is not None and _PLAIN.fullmatch(runs) and runs != value:
            rule = f"is not {runs}, with which the cluster runs; {reason}"
            fix = f"write {runs} again, or raise the cluster anew: {_anew(settings.stack)}"
            yield Problem(settings.stack, setting, value, rule, fix)


def _nodes(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """Nodes that stay keep their addresses: k3s and Cilium know a node by it."""
    machines = settings.on_premise.machines if settings.on_premise is not None else ()
    for index, machine in enumerate(machines):
        runs = _part(outputs, "node_ips").get(machine.name)
        if isinstance(runs, str) and _PLAIN.fullmatch(runs) and runs != str(machine.address):
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


def _anew(stack: str) -> str:
    return f"`pulumi destroy -s {stack}`, then `pulumi up -s {stack}`"


def _part(outputs: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    part = outputs.get(name)
    return part if isinstance(part, Mapping) else {}
