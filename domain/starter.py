"""The first stack file of a new cluster: ranges that are free in the fleet, comments that explain, and what is left.

It owns the text of a new stack file. It writes nothing and knows no files but the fleet it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final, Literal

from domain import rules
from domain.consistency import HETZNER_GATEWAY, needed_secrets, range_problems, ranges_of
from domain.fleet import Fleet
from domain.hetzner_catalogue import NETWORK_ZONES
from domain.names import NETBIRD_RANGE, PROJECT
from domain.problems import Problem, shown
from domain.ranges import FreeRanges
from domain.settings import CLUSTER_SECRET, Secret, known, read_stack
from domain.stack_file import parse_stack_file, stack_file_name

Place = Literal["hetzner", "on_premise"]

FIRST_PODS: Final = IPv4Network("10.42.0.0/16")
"""Where the search for pod and service CIDRs begins: k3s's own defaults lie here, and people know them."""
POD_SIZES: Final = (16, 18, 20)
SERVICE_SIZES: Final = (16, 18, 20, 22)
NETWORK_SIZES: Final = (16, 20, 24)
DOCKER_RANGE: Final = IPv4Network("172.17.0.0/16")
"""Docker's default on every machine that has it; not proposed, though nothing forbids it."""

EXAMPLE_LAN: Final = IPv4Network("192.168.7.0/24")

EUROPE: Final = "eu-central"
"""The network zone whose locations have the server type that is proposed."""
K3S_VERSION: Final = "v1.34.9+k3s1"
CHECKSUM: Final = "<checksum of the file k3s, from sha256sum-amd64.txt of the release>"
HOST_KEY: Final = "<ssh-ed25519 AAAA...>"
_BLANK: Final = re.compile(r'"<([^"]*)>"')


@dataclass(frozen=True)
class Blank:
    """A place of the new file that only its user can fill in."""

    line: int
    setting: str
    meaning: str


@dataclass(frozen=True)
class PeerLine:
    """What another stack's file has to say so that the link has two ends. ``line`` is that of its peers, None where it
    has none.
    """

    stack: str
    line: int | None
    text: str

    def __str__(self) -> str:
        where = "in config" if self.line is None else f"line {self.line}"
        return f"{stack_file_name(self.stack)}, {where}: {self.text}"


@dataclass(frozen=True)
class Starter:
    """A new stack file and what is left to do. ``ranges``: setting -> range."""

    stack: str
    text: str
    ranges: dict[str, IPv4Network]
    blanks: tuple[Blank, ...]
    secrets: tuple[Secret, ...]
    peer_lines: tuple[PeerLine, ...]


def starter(
    name: str,
    place: Place,
    fleet: Fleet,
    *,
    peers: Sequence[str] | None = None,
    location: str = "fsn1",
    node_cidr: IPv4Network | None = None,
) -> Starter | list[Problem]:
    """A stack file for a new cluster of the fleet, or why there can't be one.

    ``peers``: by default all other stacks. ``location`` is Hetzner's. ``node_cidr``: the LAN of machines on-premise;
    without it, it is left to be filled in. Ranges of other stacks stay as they are.
    """
    peers = sorted(fleet.files) if peers is None else list(dict.fromkeys(peers))
    if problems := _unusable(name, fleet, place, node_cidr) or list(_wrong_names(name, peers, location)):
        return problems
    ranges = _free_ranges(fleet, place, node_cidr)
    if isinstance(ranges, str):
        return [Problem(name, ranges, "", "has no free range left in the private ranges", "make others smaller")]
    text = _text(name, place, ranges, _free_zone(name, fleet), peers, location)
    return Starter(
        stack=name,
        text=text,
        ranges=ranges,
        blanks=tuple(_blanks(text)),
        secrets=needed_secrets(read_stack(name, parse_stack_file(name, text).config)),
        peer_lines=tuple(_peer_lines(name, peers, fleet)),
    )


def _wrong_names(name: str, peers: Sequence[str], location: str) -> Iterator[Problem]:
    """They go into the text, so each has to be a word."""
    checks: list[tuple[str, str, Callable[[str], str]]] = [
        ("stack", name, rules.stack_name),
        *((f"peers.{index}", peer, rules.stack_name) for index, peer in enumerate(peers)),
        ("hetzner.location", location, rules.provider_word),
    ]
    for setting, value, rule in checks:
        try:
            rule(value)
        except rules.RuleError as broken:
            yield Problem(name, setting, shown(value), broken.rule, broken.fix or "write it like de")
    if name in peers:
        yield Problem(name, "peers", name, "is this stack itself", "remove it")


def _unusable(name: str, fleet: Fleet, place: Place, node_cidr: IPv4Network | None) -> list[Problem]:
    if name in fleet.files:
        return [
            Problem(name, stack_file_name(name), "", "is there already, and is not overwritten", "take another name")
        ]
    unread = [problem for file in fleet.files.values() if not file.readable for problem in file.problems]
    if unread:
        return unread  # its ranges are unknown, so none is known to be free
    if place == "on_premise" and node_cidr is not None:
        # By the rules of the plan, whatever else the file will hold.
        draft = read_stack(name, {f"{PROJECT}:network": {"node_cidr": str(node_cidr)}})
        refused = [*draft.problems, *range_problems([draft])]
        if refused := [problem for problem in refused if problem.setting == "network.node_cidr"]:
            return refused
        for other, setting, network in _taken(fleet):
            if network.overlaps(node_cidr):
                rule = f"overlaps {other}: {setting} {network}; all ranges of the fleet have to be distinct"
                fix = "one of the two sites needs other addresses"
                return [Problem(name, "network.node_cidr", str(node_cidr), rule, fix)]
    return []


def _taken(fleet: Fleet) -> list[tuple[str, str, IPv4Network]]:
    return [(name, setting, network) for name, draft in fleet.drafts.items() for setting, network in ranges_of(draft)]


def _free_ranges(fleet: Fleet, place: Place, node_cidr: IPv4Network | None) -> dict[str, IPv4Network] | str:
    """The new cluster's ranges, or the setting for which nothing is free."""
    taken = [network for _, _, network in _taken(fleet)] + [NETBIRD_RANGE, IPv4Network(HETZNER_GATEWAY), DOCKER_RANGE]
    free = FreeRanges([*taken, *([] if node_cidr is None else [node_cidr])])
    ranges: dict[str, IPv4Network] = {}
    wanted: list[tuple[str, Iterable[int], IPv4Network | None]] = [
        ("network.pod_cidr", POD_SIZES, FIRST_PODS),
        ("network.service_cidr", SERVICE_SIZES, FIRST_PODS),
    ]
    if place == "hetzner":
        wanted.append(("hetzner.network_cidr", NETWORK_SIZES, None))
    for setting, sizes, after in wanted:
        found = next((one for size in sizes if (one := free.take(size, after=after)) is not None), None)
        if found is None:
            return setting
        ranges[setting] = found
    if place == "hetzner":
        network = ranges["hetzner.network_cidr"]
        # The second /24, so that a further subnet has the first places; the whole network where it is no larger.
        ranges["network.node_cidr"] = network if network.prefixlen == 24 else IPv4Network((int(network[256]), 24))
    elif node_cidr is not None:
        ranges["network.node_cidr"] = node_cidr
    return ranges


def _free_zone(name: str, fleet: Fleet) -> str:
    """A zone that neither is nor holds nor lies in another cluster's."""
    zones = [
        zone for draft in fleet.drafts.values() if (zone := known(draft.settings, "network", "dns_zone")) is not None
    ]

    def collides(zone: str) -> bool:
        return any(zone == one or zone.endswith(f".{one}") or one.endswith(f".{zone}") for one in zones)

    candidates = [f"{name}.internal", f"{name}.isthmus.internal", f"{name}.home.arpa"]
    candidates += [f"{name}.cluster-{number}.internal" for number in range(1, len(zones) + 2)]
    return next(zone for zone in candidates if not collides(zone) and not zone.endswith(".arpa"))


def _blanks(text: str) -> list[Blank]:
    """The places in angle brackets."""
    lines = parse_stack_file("new", text).lines
    by_line: dict[int, list[str]] = {}
    for setting, line in lines.items():
        by_line.setdefault(line, []).append(setting)
    return [
        Blank(number, by_line[number][-1], found[1])
        for number, line in enumerate(text.splitlines(), start=1)
        if not line.lstrip().startswith("#")
        for found in _BLANK.finditer(line)
    ]


def _peer_lines(name: str, peers: Sequence[str], fleet: Fleet) -> list[PeerLine]:
    """What the peers' files lack: a link has two ends."""
    lines = []
    for peer in peers:
        draft = fleet.drafts.get(peer)
        if draft is None:
            continue
        theirs = known(draft.settings, "peers") or ()
        if name not in theirs:
            text = f"isthmus:peers: [{', '.join([*theirs, name])}]"
            lines.append(PeerLine(peer, fleet.files[peer].lines.get("peers"), text))
    return lines


# --- text -------------------------------------------------------------------------------------------------------------


def _text(
    name: str, place: Place, ranges: dict[str, IPv4Network], zone: str, peers: Sequence[str], location: str
) -> str:
    parts = [
        _head(name, place),
        "config:\n",
        _network(place, ranges, zone),
        "  # Stacks to link with. Each of them lists this one, too.\n",
        f"  isthmus:peers: [{', '.join(peers)}]\n",
        _hetzner(ranges, location) if place == "hetzner" else _on_premise(name, ranges),
        _common(),
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
#   pulumi config set --secret netbirdApiToken -s {name}   # token of a NetBird service user
{last}"""


def _network(place: Place, ranges: dict[str, IPv4Network], zone: str) -> str:
    if place == "hetzner":
        nodes = f"{ranges['network.node_cidr']} # Hetzner subnet of the servers, within hetzner.network_cidr"
    else:
        given = ranges.get("network.node_cidr")
        nodes = f"{given} # the LAN of the machines" if given else f'"<the LAN of the machines, like {EXAMPLE_LAN}>"'
    return f"""\
  isthmus:network:
    # None of these can change once the cluster runs. All ranges of all stacks have to be distinct.
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
    location: {location} # where the servers stand
    network_zone: {network_zone}
    network_cidr: {ranges["hetzner.network_cidr"]} # private network
    image: debian-12
    control_plane: {{ server_type: {server_type}, count: 1 }} # servers that run the API: 1, 3 or 5
    workers: {{ server_type: {server_type}, count: 1 }} # the first one carries the link
    # Who may reach the Kubernetes API (6443) and SSH (22): at least where `pulumi up` runs.
    api_allowed_cidrs: ["<your own addresses, like 203.0.113.7/32>"]
    ssh_allowed_cidrs: ["<your own addresses, like 203.0.113.7/32>"]
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


def _common() -> str:
    return f"""\
  isthmus:k3s:
    version: {K3S_VERSION} # tag of the release
    sha256: "{CHECKSUM}"
"""
