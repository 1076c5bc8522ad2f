"""What can't be changed while a cluster runs: settings compared with the outputs that the stack's last update left.

It owns the list of such settings and their reasons. It doesn't know how the outputs are read. A stack that was never
raised, or was destroyed, has no outputs, and everything may change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.k3s_upgrades import step_refused
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


def raised_with(settings: StackSettings) -> dict[str, str | list[str]]:
    """What a later update is compared with: plain data for a stack output. ``servers`` are the names of the nodes that
    run the API, where the program raises them.
    """
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
    found: dict[str, str | list[str]] = {name: str(value) for name, value in values.items()}
    found["access"] = _access(settings)
    if settings.installs_k3s and settings.k3s is not None:
        found["k3s_version"] = settings.k3s.version
        found["servers"] = [node.name for node in plan.servers]
    return found


def _access(settings: StackSettings) -> str:
    """How the program comes to the cluster: ``hetzner``, ``ssh`` or ``kubeconfig``."""
    if settings.hetzner is not None:
        return "hetzner"
    return "ssh" if settings.installs_k3s else "kubeconfig"


def changes_refused(outputs: Mapping[str, Any], settings: StackSettings) -> list[Problem]:
    """What the settings would change although the cluster runs. ``outputs`` are the stack's, as its last update left
    them; what is missing in them, or has another form, is not compared.
    """
    if problem := _moved(outputs, settings) or _taken_otherwise(outputs, settings):
        return [problem]
    return [
        *_fixed(outputs, settings),
        *_k3s_steps(outputs, settings),
        *_nodes(outputs, settings),
        *_hetzner_servers(outputs, settings),
        *_servers_over_ssh(outputs, settings),
        *_routers(outputs, settings),
    ]


def machines_that_leave(outputs: Mapping[str, Any], settings: StackSettings) -> dict[str, str]:
    """Names and addresses of the machines that run and are not in the settings any more. Those of a given cluster are
    not the program's.
    """
    if not settings.installs_k3s:
        return {}
    stay = {node.name for node in address_plan(settings).nodes}
    return {
        name: address
        for name, address in _part(outputs, "node_ips").items()
        if isinstance(name, str) and isinstance(address, str) and name not in stay
        if _PLAIN.fullmatch(name) and _PLAIN.fullmatch(address)
    }


def _moved(outputs: Mapping[str, Any], settings: StackSettings) -> Problem | None:
    """A cluster stays where it stands."""
    given = _part(outputs, RAISED_WITH)
    if not given or ("hetzner_network" in given) == (settings.hetzner is not None):
        return None
    here, there = ("hetzner", "on_premise") if settings.hetzner is not None else ("on_premise", "hetzner")
    rule = f"stands in the place of {there}, where the cluster runs; a cluster does not move"
    fix = f"write {there} again, or raise the cluster anew: {_anew(settings.stack)}"
    return Problem(settings.stack, here, "", rule, fix)


def _taken_otherwise(outputs: Mapping[str, Any], settings: StackSettings) -> Problem | None:
    """Machines that k3s was put on stay with SSH, and a cluster that somebody else runs stays his."""
    before, after, stack = _part(outputs, RAISED_WITH).get("access"), _access(settings), settings.stack
    if before == "ssh" and after == "kubeconfig":
        rule = "stands in the place of ssh, by which k3s was put on the machines; it would be taken off all of them"
        fix = f"write ssh again; what runs there ends with `pulumi destroy -s {stack}` only"
        return Problem(stack, "on_premise.kubeconfig", "", rule, fix)
    if before == "kubeconfig" and after == "ssh":
        rule = "stands in the place of kubeconfig, which leads to a cluster that runs; k3s would be installed over it"
        fix = (
            f"write kubeconfig again, or let go of the cluster with `pulumi destroy -s {stack}` and take it off the "
            "machines first"
        )
        return Problem(stack, "on_premise.ssh", "", rule, fix)
    return None


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
        if isinstance(runs, str) and isinstance(value, str) and _PLAIN.fullmatch(runs) and runs != value:
            rule = f"is not {runs}, with which the cluster runs; {reason}"
            fix = f"write {runs} again, or raise the cluster anew: {_anew(settings.stack)}"
            yield Problem(settings.stack, setting, value, rule, fix)


def _k3s_steps(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """k3s goes forward, one minor release at a time."""
    runs = _part(outputs, RAISED_WITH).get("k3s_version")
    if isinstance(runs, str) and settings.k3s is not None:
        problem = step_refused(settings.stack, runs, settings.k3s.version)
        if problem is not None:
            yield problem


def _nodes(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """Nodes that stay keep their addresses: k3s and Cilium know a node by it. And a machine keeps its name."""
    section, servers = settings.on_premise, _raised_servers(outputs)
    run = {
        name: address
        for name, address in _part(outputs, "node_ips").items()
        if isinstance(name, str) and isinstance(address, str) and _PLAIN.fullmatch(name) and _PLAIN.fullmatch(address)
    }
    machines = section.machines if section is not None else ()
    listed = {machine.name for machine in machines}
    gone = {address: name for name, address in run.items() if name not in listed}
    for index, machine in enumerate(machines):
        runs, address = run.get(machine.name), str(machine.address)
        if runs is not None and runs != address:
            setting = f"on_premise.machines.{index}.address"
            rule = f"is not {runs}, with which the node {machine.name} runs; k3s and Cilium know the node by it"
            fix = f"write {runs} again, or give the machine another name, so that it leaves and joins anew"
            if servers == [machine.name]:
                fix = f"write {runs} again, or raise the cluster anew: {_anew(settings.stack)}"
            yield Problem(settings.stack, setting, address, rule, fix)
        elif runs is None and address in gone and settings.installs_k3s:
            old = gone[address]
            rule = f"is another name for {old} at {address}; with {old}, k3s would be taken off that machine"
            fix = f"write {old} again, or take the machine out, `pulumi up -s {settings.stack}`, and add it anew"
            yield Problem(settings.stack, f"on_premise.machines.{index}.name", machine.name, rule, fix)


def _hetzner_servers(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
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


def _servers_over_ssh(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """The cluster's data is on its servers: enough of them stay, as servers, and the first one is one of them."""
    before, stack = _raised_servers(outputs), settings.stack
    if settings.on_premise is None or not settings.installs_k3s or not before:
        return
    machines = settings.on_premise.machines
    only = f"raise the cluster anew: {_anew(stack)}"
    for index, machine in enumerate(machines):
        if machine.name in before and machine.role != "server":
            rule = (
                f"is not server, as which {machine.name} runs; etcd has its data there and would go on counting on it"
            )
            other = f"take the machine out, `pulumi up -s {stack}`, and add it anew"
            fix = f"write server again, or {only if len(before) == 1 else other}"
            yield Problem(stack, f"on_premise.machines.{index}.role", str(machine.role), rule, fix)
    listed = {machine.name for machine in machines}
    stay = [name for name in before if name in listed]
    majority = len(before) // 2 + 1
    if len(before) == 1 and not stay:
        rule = f"lacks {before[0]}, the only server that runs; the cluster's data is on it"
        yield Problem(stack, "on_premise.machines", "", rule, f"add {before[0]} again, or {only}")
    elif len(stay) < majority:
        rule = (
            f"keeps {len(stay)} of the {len(before)} servers that run; etcd would lose its majority, and the API would "
            "stop"
        )
        fix = f"keep {majority} of {', '.join(before)}, and replace the others in later runs of `pulumi up -s {stack}`"
        yield Problem(stack, "on_premise.machines", "", rule, fix)
    elif (first := next(machine for machine in machines if machine.role == "server")).name not in before:
        rule = "is the first server, which the others join, and it does not run yet; it would start a cluster alone"
        setting = f"on_premise.machines.{machines.index(first)}.name"
        yield Problem(stack, setting, first.name, rule, f"put it behind {stay[0]}")


def _routers(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """The router stays where it is. A node gets the router's label when it joins, and NetBird's agent stays where it
    was started: a link that is moved to a node that runs would carry nothing, and say nothing of it. Only a machine
    that joins anew can take the place of one that leaves.
    """
    before = _raised_routers(outputs)
    now = [node.name for node in address_plan(settings).routers]
    run = _part(outputs, "node_ips")
    if not before or now == before:
        return
    leaves = not {*before} & {node.name for node in address_plan(settings).nodes}
    if settings.on_premise is not None and settings.installs_k3s and leaves and not {*now} & {*run}:
        return
    was, stack = before[0], settings.stack
    rule = f"moves the link's router from {was}, where it runs, to {now[0]}, which would never carry it"
    if settings.hetzner is not None:
        count = sum(name.startswith(f"{stack}-agent-") for name in run if isinstance(name, str))
        fix = f"write {count} again, or raise the cluster anew: {_anew(stack)}"
        yield Problem(stack, "hetzner.workers.count", str(settings.hetzner.workers.count), rule, fix)
        return
    machines = settings.on_premise.machines if settings.on_premise is not None else ()
    index = next(index for index, machine in enumerate(machines) if machine.name == now[0])
    new = f"put a machine that is new in the place of {was}, " if settings.installs_k3s else ""
    fix = f"write it at {was} again, {new}or raise the cluster anew: {_anew(stack)}"
    yield Problem(stack, f"on_premise.machines.{index}.router", "true", rule, fix)


def _raised_routers(outputs: Mapping[str, Any]) -> list[str]:
    """The names of the nodes that carry the link, from the output of their NetBird addresses, else from what the peers
    read. None where the last update noted neither.
    """
    link = _part(outputs, "link").get("routers")
    noted = [
        list(_part(outputs, "router_peers")),
        [one.get("node") for one in link if isinstance(one, Mapping)] if isinstance(link, list) else [],
    ]
    for names in noted:
        if (
            isinstance(names, list)
            and names
            and all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in names)
        ):
            return names
    return []


def _raised_servers(outputs: Mapping[str, Any]) -> list[str]:
    """The names of the servers that run; none where the last update didn't note them."""
    names = _part(outputs, RAISED_WITH).get("servers")
    if not isinstance(names, list) or not all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in names):
        return []
    return names


def _anew(stack: str) -> str:
    return f"`pulumi destroy -s {stack}`, then `pulumi up -s {stack}`"


def _part(outputs: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    part = outputs.get(name)
    return part if isinstance(part, Mapping) else {}
