"""What can't be changed of machines on-premise while their cluster runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from domain.places.on_premise.model import OnPremiseSettings
from domain.places.outputs import anew, nodes_that_run, raised_servers
from domain.problems import Problem
from domain.settings.stack import CommonSettings


def changes(outputs: Mapping[str, Any], settings: CommonSettings, section: OnPremiseSettings) -> Iterator[Problem]:
    """Nodes keep their addresses and names, and the data its servers."""
    ours = section.kubeconfig is None
    yield from _nodes(outputs, settings.stack, section, ours=ours)
    if ours:
        yield from _servers(outputs, settings.stack, section)


def generation_at(section: OnPremiseSettings, name: str) -> str | None:
    """The setting that says which generation a node is of; None where none is called so."""
    found = (index for index, machine in enumerate(section.machines) if machine.name == name)
    return next((f"on_premise.machines.{index}.generation" for index in found), None)


def _nodes(outputs: Mapping[str, Any], stack: str, section: OnPremiseSettings, *, ours: bool) -> Iterator[Problem]:
    """Nodes that stay keep their addresses: k3s and Cilium know a node by it. And a machine keeps its name."""
    servers, run, machines = raised_servers(outputs), nodes_that_run(outputs), section.machines
    listed = {machine.name for machine in machines}
    gone = {address: name for name, address in run.items() if name not in listed}
    for index, machine in enumerate(machines):
        runs, address = run.get(machine.name), str(machine.address)
        if runs is not None and runs != address:
            setting = f"on_premise.machines.{index}.address"
            rule = f"is not {runs}, with which the node {machine.name} runs; k3s and Cilium know the node by it"
            fix = f"write {runs} again, or give the machine another name, so that it leaves and joins anew"
            if servers == [machine.name]:
                fix = f"write {runs} again, or raise the cluster anew: {anew(stack)}"
            yield Problem(stack, setting, address, rule, fix)
        elif runs is None and address in gone and ours:
            old = gone[address]
            rule = f"is another name for {old} at {address}; with {old}, k3s would be taken off that machine"
            fix = f"write {old} again, or take the machine out, `pulumi up -s {stack}`, and add it anew"
            yield Problem(stack, f"on_premise.machines.{index}.name", machine.name, rule, fix)


def _servers(outputs: Mapping[str, Any], stack: str, section: OnPremiseSettings) -> Iterator[Problem]:
    """The cluster's data is on its servers: enough of them stay, as servers."""
    before = raised_servers(outputs)
    if not before:
        return
    machines = section.machines
    only = f"raise the cluster anew: {anew(stack)}"
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
