"""The text of a new stack file: what stands in it, with comments that explain, and blanks in angle brackets.

It owns words and YAML. What stands there (ranges, peers, what other clusters have) is decided by ``starter.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from domain.places.place import StarterText
from domain.settings.secrets import CLUSTER_SECRET
from domain.yaml_words import flow, word

K3S_VERSION: Final = "v1.34.9+k3s1"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What stands in the file. ``ranges``: setting -> range. ``k3s``: version and checksum, where another cluster of
    the fleet tells them. ``netbird`` and ``cilium``: what linked clusters have to have in common and is no default.
    """

    name: str
    starter: StarterText
    ranges: dict[str, IPv4Network]
    zone: str
    peers: Sequence[str]
    location: str
    k3s: tuple[str, str] | None = None
    netbird: dict[str, str | int]
    cilium: dict[str, str | int]


def stack_file_text(contents: Contents) -> str:
    """The whole file."""
    name, ranges = contents.name, contents.ranges
    parts = [
        _head(name, contents.starter),
        "config:\n",
        _network(contents, ranges),
        "  # Stacks to link with. Each of them lists this one, too.\n",
        f"  isthmus:peers: {flow(contents.peers)}\n",
        contents.starter.text(name, ranges, contents.location),
        _k3s(contents.k3s),
        _section("cilium", contents.cilium),
        _section("netbird", contents.netbird),
    ]
    return "".join(parts)


def _head(name: str, starter: StarterText) -> str:
    return f"""# yaml-language-server: $schema=docs/stack-file.schema.json
# The cluster {name}, {starter.where}. Fill in what is marked with <>, check it with `./isthmus plan`, then
# `pulumi up -s {name}`. What is not here has defaults that work; docs/settings.md lists all settings.
#
# Secrets are set by command, once; they stand in this file encrypted:
#   pulumi stack init {name}
#   {CLUSTER_SECRET.command.format(stack=name)}
#   pulumi config set --secret netbirdApiToken -s {name}   # token of a NetBird service user, Admin
{starter.secret(name)}"""


def _network(contents: Contents, ranges: dict[str, IPv4Network]) -> str:
    zone, given, starter = contents.zone, ranges.get("network.node_cidr"), contents.starter
    nodes = f"{given} # {starter.nodes}" if given else f'"<{starter.nodes}, like {starter.nodes_example}>"'
    return f"""\
  isthmus:network:
    # None of these can change once the cluster runs. Linked clusters need other ranges.
    pod_cidr: {ranges["network.pod_cidr"]} # addresses of pods; every node takes a /24 of it
    service_cidr: {ranges["network.service_cidr"]} # addresses of services; the DNS service gets the tenth
    node_cidr: {nodes}
    dns_zone: {zone} # names of this cluster, everywhere: SERVICE.NAMESPACE.svc.{zone}
"""


def _k3s(known: tuple[str, str] | None) -> str:
    version, checksum = known or (K3S_VERSION, f'"<what `./isthmus k3s-checksum {K3S_VERSION}` prints>"')
    said = "as the other clusters have it" if known else "tag of the release"
    return f"""\
  isthmus:k3s:
    version: {version} # {said}
    sha256: {word(checksum) if known else checksum}
"""


def _section(name: str, settings: dict[str, str | int]) -> str:
    if not settings:
        return ""
    lines = "".join(f"    {key}: {value}\n" for key, value in settings.items())
    return f"  # What linked clusters have in common.\n  isthmus:{name}:\n{lines}"
