"""What can't be changed at Hetzner while a cluster runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.k3s_upgrades import release
from domain.places.hetzner.catalogue import is_arm
from domain.places.hetzner.model import HetznerSettings
from domain.places.hetzner.nodes import nodes
from domain.places.outputs import RAISED_WITH, anew, k3s_noted, made_anew, nodes_that_run, part
from domain.problems import Problem
from domain.settings.stack import CommonSettings

FIXED: Final = {
    "hetzner_network": ("hetzner.network_cidr", "the servers' private network is made with it"),
    "hetzner_location": ("hetzner.location", "a server can't move, all of them would be made anew, empty"),
    "hetzner_zone": ("hetzner.network_zone", "the servers' private network is made in it"),
}


_GROUPS: Final = "hetzner_groups"
"""Name, location and architecture of each group of servers. Before there were pools, and Arm servers, it was not
noted."""
_GROUP: Final = re.compile(r"([a-z0-9._-]{1,40}) ([a-z0-9._-]{1,63}) (x86|arm)", re.ASCII)


def fixed(section: HetznerSettings) -> dict[str, object]:
    """What a cluster that runs can't leave."""
    return {
        "hetzner_network": section.network_cidr,
        "hetzner_location": section.location,
        "hetzner_zone": section.network_zone,
        _GROUPS: [f"{name} {location} {_architecture(kind)}" for name, (location, kind) in _groups(section).items()],
    }


def _groups(section: HetznerSettings) -> dict[str, tuple[str, str]]:
    """Location and server type of each group by its setting below ``hetzner``."""
    found = {
        "control_plane": (section.location, section.control_plane.server_type),
        "workers": (section.location, section.workers.server_type),
    }
    pools = sorted(section.pools.items())
    return found | {f"pools.{name}": (pool.location or section.location, pool.server_type) for name, pool in pools}


def _architecture(server_type: str) -> str:
    return "arm" if is_arm(server_type) else "x86"


def changes(outputs: Mapping[str, Any], settings: CommonSettings, section: HetznerSettings) -> Iterator[Problem]:
    """Servers that exist keep what makes them the servers they are, etcd its majority, and Hetzner its protection."""
    yield from _servers(outputs, settings, section)
    yield from _moved(outputs, settings, section)
    yield from _addresses(outputs, settings, section)
    yield from _protected(outputs, settings, section)
    yield from _newcomers(outputs, settings, section)


def _newcomers(outputs: Mapping[str, Any], settings: CommonSettings, section: HetznerSettings) -> Iterator[Problem]:
    """A node that is new boots with the k3s of the settings, before the servers go on to it, and no kubelet may be of a
    newer minor release than they are.
    """
    run, noted = nodes_that_run(outputs), k3s_noted(outputs)
    new = [node.name for node in nodes(settings, section) if node.name not in run]
    if not run or not new or noted is None or settings.k3s is None:
        return
    before, after = release(noted), release(settings.k3s.version)
    if before is not None and after is not None and after[0] > before[0]:
        name = new[0]
        rule = f"is of a newer minor release than {noted}, which the servers run, and {name} would have it before them"
        fix = f"write {noted} again until {name} is there, or add {name} after a `pulumi up -s {settings.stack}`"
        yield Problem(settings.stack, "k3s.version", settings.k3s.version, rule, fix)


def _moved(outputs: Mapping[str, Any], settings: CommonSettings, section: HetznerSettings) -> Iterator[Problem]:
    """A server stays in its location, and of its architecture: Hetzner would have to make it anew."""
    listed = part(outputs, RAISED_WITH).get(_GROUPS)
    found = (_GROUP.fullmatch(text) for text in listed if isinstance(text, str)) if isinstance(listed, list) else ()
    # What was raised before it was noted: servers of the two groups alone, and x86 ones.
    before = {"control_plane": ("", "x86"), "workers": ("", "x86")}
    before |= {match[1]: (match[2], match[3]) for match in found if match is not None}
    stay = {
        node.order.setting for node in nodes(settings, section) if node.name in nodes_that_run(outputs) and node.order
    }
    for name, (location, server_type) in _groups(section).items():
        setting = f"hetzner.{name}"
        if name not in before or setting not in stay:
            continue
        there, architecture = before[name]
        way = f"or take the pool out, `pulumi up -s {settings.stack}`, and add it anew"
        if name.startswith("pools.") and location != there:
            rule = f"is not {there}, where the pool's servers run; a server can't move"
            yield Problem(settings.stack, f"{setting}.location", location, rule, f"write {there} again, {way}")
        if _architecture(server_type) != architecture:
            kinds = {"x86": "x86 servers", "arm": "Arm servers"}
            rule = f"is a type of {kinds[_architecture(server_type)]}, and these run as {kinds[architecture]}"
            instead = way if name.startswith("pools.") else "and take a pool for the others"
            fix = f"take a type of {kinds[architecture]} again, {instead}"
            yield Problem(settings.stack, f"{setting}.server_type", server_type, rule, fix)


def _addresses(outputs: Mapping[str, Any], settings: CommonSettings, section: HetznerSettings) -> Iterator[Problem]:
    """A node keeps its address as long as it is there, and nobody takes that of one that is about to leave: its server
    goes last.
    """
    run, planned = nodes_that_run(outputs), nodes(settings, section)
    stay = {node.name for node in planned}
    leave = {address: name for name, address in run.items() if name not in stay}
    told: set[str] = set()
    for node in planned:
        pool = section.pools.get(node.order.pool) if node.order is not None else None
        if pool is None or node.order is None or node.order.setting in told:
            continue
        runs, address = run.get(node.name), str(node.address)
        if runs is not None and runs != address:
            rule = (
                f"gives {node.name} the address {address}, and it runs with {runs}; k3s and Cilium know the node by it"
            )
            fix = (
                "begin the range where it began before, or take the pool out, "
                f"`pulumi up -s {settings.stack}`, and add it anew"
            )
        elif runs is None and address in leave:
            rule = (
                f"gives {node.name} the address {address}, which {leave[address]} has until this update has removed it"
            )
            fix = f"take another range, or add the pool after a `pulumi up -s {settings.stack}` without it"
        else:
            continue
        told.add(node.order.setting)
        yield Problem(settings.stack, f"{node.order.setting}.addresses", str(pool.addresses), rule, fix)


def _protected(outputs: Mapping[str, Any], settings: CommonSettings, section: HetznerSettings) -> Iterator[Problem]:
    """Hetzner refuses to overwrite the disk of a protected server, and would do so once its node has left."""
    if not section.delete_protection:
        return
    for name in made_anew(outputs, nodes(settings, section)):
        rule = "is higher than before, and hetzner.delete_protection keeps Hetzner from making the server anew"
        fix = f"write delete_protection: false, `pulumi up -s {settings.stack}`, and raise the number then"
        yield Problem(settings.stack, generation_at(section, name), str(section.generations[name]), rule, fix)


def generation_at(section: HetznerSettings, name: str) -> str:
    """The setting that says which generation a node is of."""
    return f"hetzner.generations.{name}"


def _servers(outputs: Mapping[str, Any], settings: CommonSettings, section: HetznerSettings) -> Iterator[Problem]:
    pattern = re.compile(re.escape(settings.stack) + r"-server-[0-9]{1,2}", re.ASCII)
    before = sum(bool(pattern.fullmatch(name)) for name in part(outputs, "node_ips") if isinstance(name, str))
    after = section.control_plane.count
    setting, value = "hetzner.control_plane.count", str(after)
    if before == 1 and after > 1:
        rule = (
            "is more than the 1 with which the cluster was raised; its datastore is one that no other server can join"
        )
        fix = f"write 1 again, or raise the cluster anew: {anew(settings.stack)}"
        yield Problem(settings.stack, setting, value, rule, fix)
    elif after < before // 2 + 1:
        rule = f"leaves no majority of the {before} servers that run; etcd would stop, and the API with it"
        yield Problem(settings.stack, setting, value, rule, f"take at least {before // 2 + 1}")
