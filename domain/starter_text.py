"""The text of a new stack file: what stands in it, with comments that explain, and blanks in angle brackets.

It owns words and YAML. What stands there (ranges, peers, what other clusters have) is decided by ``starter.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final, Literal

from domain.hetzner_catalogue import NETWORK_ZONES
from domain.settings import CLUSTER_SECRET

Place = Literal["hetzner", "on_premise"]

EXAMPLE_LAN: Final = IPv4Network("192.168.7.0/24")
EUROPE: Final = "eu-central"
"""The network zone whose locations have the server type that is proposed."""
K3S_VERSION: Final = "v1.34.9+k3s1"
HOST_KEY: Final = "<its line of /etc/ssh/ssh_host_ed25519_key.pub>"
_MISREAD: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
"""Words that one or the other version of YAML takes for something else than text."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What stands in the file. ``ranges``: setting -> range. ``k3s``: version and checksum, where another cluster of
    the fleet tells them. ``netbird`` and ``cilium``: what linked clusters have to have in common and is no default.
    """

    name: str
    place: Place
    ranges: dict[str, IPv4Network]
    zone: str
    peers: Sequence[str]
    location: str
    k3s: tuple[str, str] | None = None
    netbird: dict[str, str | int]
    cilium: dict[str, str | int]


def word(value: str) -> str:
    """A word that every reader of YAML takes for a text: in quotes where it begins with no letter (``1e3``, ``022``,
    ``2026-11-29``), or is one of YAML's own.
    """
    return value if value[:1].isalpha() and value.lower() not in _MISREAD else f'"{value}"'


def flow(values: Sequence[str]) -> str:
    """Words as a list in one line."""
    return f"[{', '.join(map(word, values))}]"


def stack_file_text(contents: Contents) -> str:
    """The whole file."""
    name, ranges = contents.name, contents.ranges
    parts = [
        _head(name, contents.place),
        "config:\n",
        _network(contents.place, ranges, contents.zone),
        "  # Stacks to link with. Each of them lists this one, too.\n",
        f"  isthmus:peers: {flow(contents.peers)}\n",
        _hetzner(ranges, contents.location) if contents.place == "hetzner" else _on_premise(contents.name, ranges),
        _k3s(contents.k3s),
        _section("cilium", contents.cilium),
        _section("netbird", contents.netbird),
    ]
    return "".join(parts)


def _head(name: str, place: Place) -> str:
    where = "at Hetzner Cloud" if place == "hetzner" else "on machines of one's own"
    last = (
        f"#   pulumi config set --secret hcloud:token -s {name}   # API token of the Hetzner project, read and write\n"
        if place == "hetzner"
        else f"#   pulumi config set --secret sshPrivateKey -s {name} < KEYFILE   # key without a passphrase\n"
    )
    return f"""# yaml-language-server: $schema=docs/stack-file.schema.json
# The cluster {name}, {where}. Fill in what is marked with <>, check it with `./isthmus plan`, then
# `pulumi up -s {name}`. What is not here has defaults that work; docs/settings.md lists all settings.
#
# Secrets are set by command, once; they stand in this file encrypted:
#   pulumi stack init {name}
#   {CLUSTER_SECRET.command.format(stack=name)}
#   pulumi config set --secret netbirdApiToken -s {name}   # token of a NetBird service user, Admin
{last}"""


def _network(place: Place, ranges: dict[str, IPv4Network], zone: str) -> str:
    if place == "hetzner":
        nodes = f"{ranges['network.node_cidr']} # Hetzner subnet of the servers, within hetzner.network_cidr"
    else:
        given = ranges.get("network.node_cidr")
        nodes = f"{given} # the LAN of the machines" if given else f'"<the LAN of the machines, like {EXAMPLE_LAN}>"'
    return f"""\
  isthmus:network:
    # None of these can change once the cluster runs. Linked clusters need other ranges.
    pod_cidr: {ranges["network.pod_cidr"]} # addresses of pods; every node takes a /24 of it
    service_cidr: {ranges["network.service_cidr"]} # addresses of services; the DNS service gets the tenth
    node_cidr: {nodes}
    dns_zone: {zone} # names of this cluster, everywhere: SERVICE.NAMESPACE.svc.{zone}
"""


def _hetzner(ranges: dict[str, IPv4Network], location: str) -> str:
    zone = NETWORK_ZONES.get(location)
    server_type = "cx23" if zone == EUROPE else '"<an x86 server type of that location>"'
    network_zone = (
        '"<the network zone of that location>"' if zone is None else f"{zone} # network zone of that location"
    )
    return f"""\
  isthmus:hetzner:
    location: {word(location)} # where the servers stand
    network_zone: {network_zone}
    network_cidr: {ranges["hetzner.network_cidr"]} # private network
    image: debian-12
    control_plane: {{ server_type: {server_type}, count: 1 }} # servers that run the API: 1, 3 or 5
    workers: {{ server_type: {server_type}, count: 1 }} # the first one carries the link
    # Who may reach the Kubernetes API (6443) and SSH (22): at least where `pulumi up` runs.
    # When that address changes: change it here; docs/tutorial.md has the command that opens the firewall for it.
    api_allowed_cidrs: ["<your public addresses, like 203.0.113.7/32>"]
    ssh_allowed_cidrs: ["<your public addresses, like 203.0.113.7/32>"]
"""


def _on_premise(name: str, ranges: dict[str, IPv4Network]) -> str:
    lan = ranges.get("network.node_cidr", EXAMPLE_LAN)

    def machine(number: int, role: str, router: str, comment: str) -> str:
        first = min(10, lan.num_addresses - 4)
        example = lan[first + number]
        return f"""\
      - name: {name}-{number}
        address: "<its address, like {example}>"
        role: {role} # {comment}
        router: {router}
        host_key: "{HOST_KEY}"
"""

    return f"""\
  isthmus:on_premise:
    # host_key is the line of /etc/ssh/ssh_host_ed25519_key.pub on the machine. Exactly one machine is the router: it
    # carries the link and needs no open port, only a way out to the Internet.
    machines:
{machine(1, "server", "false", "runs the API: 1, 3 or 5 machines")}\
{machine(2, "agent", "true", "runs workloads only")}\
    ssh: {{ user: root, port: 22 }} # root, or a user who may `sudo -n`
    # Instead of ssh, for a cluster that runs there already (then without isthmus:k3s, role, host_key and the secrets
    # clusterSecret and sshPrivateKey, but with `pulumi config set --secret kubeconfig -s {name} < KUBECONFIG`):
    # kubeconfig: {{context: NAME}}
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
