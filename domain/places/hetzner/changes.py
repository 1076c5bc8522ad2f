"""What can't be changed at Hetzner while a cluster runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.places.hetzner.model import HetznerSettings
from domain.places.outputs import anew, part
from domain.problems import Problem
from domain.settings.stack import CommonSettings

FIXED: Final = {
    "hetzner_network": ("hetzner.network_cidr", "the servers' private network is made with it"),
    "hetzner_location": ("hetzner.location", "a server can't move, all of them would be made anew, empty"),
    "hetzner_zone": ("hetzner.network_zone", "the servers' private network is made in it"),
}


def fixed(section: HetznerSettings) -> dict[str, object]:
    """What a cluster that runs can't leave."""
    return {
        "hetzner_network": section.network_cidr,
        "hetzner_location": section.location,
        "hetzner_zone": section.network_zone,
    }


def changes(outputs: Mapping[str, Any], settings: CommonSettings, section: HetznerSettings) -> Iterator[Problem]:
    """Servers that exist keep their first settings, and etcd keeps its majority."""
    yield from _servers(outputs, settings, section)


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
