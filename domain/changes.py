"""What can't be changed while a cluster runs: settings compared with the outputs that the stack's last update left.

It owns the list of such settings and their reasons. It doesn't know how the outputs are read. A stack that was never
raised, or was destroyed, has no outputs, and everything may change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.k3s_upgrades import step_refused
from domain.nodes import FIRST_GENERATION
from domain.places import registry
from domain.places.outputs import (
    GENERATIONS,
    K3S_VERSION,
    PLAIN,
    RAISED_WITH,
    anew,
    generations_noted,
    k3s_noted,
    made_anew,
    nodes_that_run,
    part,
)
from domain.places.registry import StackSettings
from domain.plan import address_plan
from domain.problems import Problem
from domain.settings.installed import SECRETS_ENCRYPTION

_FIXED: Final = {
    "pod_cidr": ("network.pod_cidr", "every node holds a part of it, and the peers route it"),
    "service_cidr": (
        "network.service_cidr",
        "the addresses of all services and the API's certificate come from it",
    ),
    "node_cidr": ("network.node_cidr", "the machines have their addresses in it"),
    "cluster_dns": ("network.cluster_dns", "the DNS service has this address, and every pod asks it"),
    # Neither later (https://docs.k3s.io/cli/secrets-encrypt), nor off: nothing would read what was written with it.
    "secrets_encryption": (
        f"k3s.server_config.{SECRETS_ENCRYPTION}",
        "k3s takes it at a cluster's first start alone",
    ),
}
"""Settings behind the values of the output, with the reason why a change breaks a cluster that runs."""


def raised_with(settings: StackSettings) -> dict[str, str | list[str] | dict[str, int]]:
    """What a later update is compared with: plain data for a stack output. ``servers`` are the names of the nodes that
    run the API, where the program raises them.
    """
    plan, place = address_plan(settings), settings.place
    values: dict[str, object] = {
        "pod_cidr": plan.pod_cidr,
        "service_cidr": plan.service_cidr,
        "node_cidr": plan.node_cidr,
        "cluster_dns": plan.cluster_dns,
    }
    values |= place.fixed(settings.section)
    found: dict[str, str | list[str] | dict[str, int]] = {
        name: [*value] if isinstance(value, list) else str(value) for name, value in values.items()
    }
    found["access"] = place.name
    if place.installs_k3s and settings.k3s is not None:
        found[K3S_VERSION] = settings.k3s.version
        found["secrets_encryption"] = str(settings.k3s.encrypts_secrets).lower()
        found["servers"] = [node.name for node in plan.servers]
        found[GENERATIONS] = {node.name: node.generation for node in plan.nodes}
    return found


def changes_refused(outputs: Mapping[str, Any], settings: StackSettings) -> list[Problem]:
    """What the settings would change although the cluster runs. ``outputs`` are the stack's, as its last update left
    them; what is missing in them, or has another form, is not compared.
    """
    if problem := _moved(outputs, settings) or _taken_otherwise(outputs, settings):
        return [problem]
    return [
        *_fixed(outputs, settings),
        *_k3s_steps(outputs, settings),
        *_generations(outputs, settings),
        *_all_routers(outputs, settings),
        *settings.place.changes(outputs, settings, settings.section),
    ]


def machines_that_leave(outputs: Mapping[str, Any], settings: StackSettings) -> dict[str, str]:
    """Names and addresses of the machines that run and are not in the settings any more. Those of a given cluster are
    not the program's.
    """
    if not settings.installs_k3s:
        return {}
    stay = {node.name for node in address_plan(settings).nodes}
    return {name: address for name, address in nodes_that_run(outputs).items() if name not in stay}


def machines_that_come(outputs: Mapping[str, Any], settings: StackSettings) -> frozenset[str]:
    """Names of the machines that are to be made, where no other may have such a name; empty where others may."""
    if not settings.place.names_once:
        return frozenset()
    return frozenset(node.name for node in address_plan(settings).nodes) - nodes_that_run(outputs).keys()


def _moved(outputs: Mapping[str, Any], settings: StackSettings) -> Problem | None:
    """A cluster stays where it stands."""
    here, there = settings.place.section, _section_of(part(outputs, RAISED_WITH))
    if there in (None, here):
        return None
    rule = f"stands in the place of {there}, where the cluster runs; a cluster does not move"
    fix = f"write {there} again, or raise the cluster anew: {anew(settings.stack)}"
    return Problem(settings.stack, here, "", rule, fix)


def _section_of(given: Mapping[Any, Any]) -> str | None:
    """The section of the place where the cluster runs. Before its name was noted, what is fixed there told it."""
    named = (place for place in registry.PLACES if place.name == given.get("access"))
    marked = (place for place in registry.PLACES if place.fixed_because and next(iter(place.fixed_because)) in given)
    unmarked = (place for place in registry.PLACES if not place.fixed_because)
    found = next(iter([*marked, *named, *unmarked]), None)
    return found.section if given and found is not None else None


def _taken_otherwise(outputs: Mapping[str, Any], settings: StackSettings) -> Problem | None:
    """Whether the cluster was raised in another place that has the same section."""
    before = part(outputs, RAISED_WITH).get("access")
    return settings.place.taken_otherwise(settings.stack, before) if isinstance(before, str) else None


def _fixed(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    wanted = raised_with(settings)
    given = {**part(outputs, "link"), **part(outputs, RAISED_WITH)}
    if settings.place.lan:
        # The LAN of machines that exist may be described better at any time; their addresses count, see below.
        given.pop("node_cidr", None)
    if given.get("service_cidr") != wanted["service_cidr"]:
        given.pop("cluster_dns", None)  # it follows, and one message is enough
    for name, (setting, reason) in {**_FIXED, **settings.place.fixed_because}.items():
        runs, value = given.get(name), wanted.get(name)
        if isinstance(runs, str) and isinstance(value, str) and PLAIN.fullmatch(runs) and runs != value:
            rule = f"is not {runs}, with which the cluster runs; {reason}"
            fix = f"write {runs} again, or raise the cluster anew: {anew(settings.stack)}"
            yield Problem(settings.stack, setting, value, rule, fix)


def _k3s_steps(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """k3s goes forward, one minor release at a time."""
    runs = k3s_noted(outputs)
    if runs is not None and settings.k3s is not None:
        problem = step_refused(settings.stack, runs, settings.k3s.version)
        if problem is not None:
            yield problem


def _all_routers(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """Of several routers one stays as it is: those that are made anew have new addresses in NetBird, and linked
    clusters know them only after an update of their own.
    """
    plan = address_plan(settings)
    anew_ = made_anew(outputs, plan.nodes)
    routers = plan.routers
    if len(routers) < 2 or not settings.peers or any(node.name not in anew_ for node in routers):
        return
    last = routers[-1]
    setting = settings.place.generation_at(settings.section, last.name)
    if setting is not None:
        peer = settings.peers[0]
        rule = f"is higher than before, and so is that of every other router; {peer} would know none of them"
        fix = "raise it after the others: `pulumi up` here, `pulumi up` of each linked stack, and then this number"
        yield Problem(settings.stack, setting, str(last.generation), rule, fix)


def _generations(outputs: Mapping[str, Any], settings: StackSettings) -> Iterator[Problem]:
    """A generation goes up, of a node that was noted with one, and not of the only server."""
    noted, run, plan = generations_noted(outputs), nodes_that_run(outputs), address_plan(settings)
    for node in plan.nodes:
        setting = settings.place.generation_at(settings.section, node.name)
        if setting is None or node.name not in run:
            continue
        before = FIRST_GENERATION if noted is None else noted.get(node.name, node.generation)
        number = str(node.generation)
        if noted is None and node.generation > before:
            rule = "is higher than 1; the last `pulumi up` was of a version that made no node anew and noted no number"
            fix = f"write 1, `pulumi up -s {settings.stack}`, and {number} then"
            yield Problem(settings.stack, setting, number, rule, fix)
        elif node.generation < before:
            rule = f"is lower than {before}, with which the node runs; a number goes up alone"
            fix = f"write {before} again, or {before + 1} to have it made anew"
            yield Problem(settings.stack, setting, number, rule, fix)
        elif node.generation > before and [server.name for server in plan.servers] == [node.name]:
            rule = f"is higher than {before}, with which {node.name} runs; it is the only server, and the data is on it"
            fix = f"write {before} again, or raise the cluster anew: {anew(settings.stack)}"
            yield Problem(settings.stack, setting, number, rule, fix)
