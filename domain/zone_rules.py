"""Rules for DNS zones: which names a cluster must not take for its own, and where names can't be asked of.

It owns what is wrong with a zone in the world outside of the fleet. That zones of one fleet do not meet is
``fleet.py``'s and ``consistency.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any, Final
from urllib.parse import urlsplit

from domain.names import RELAY_PORT
from domain.overlay import NETBIRD_RANGE
from domain.places import registry as places
from domain.problems import Problem
from domain.public_names import RESERVED, holds_domains, registered
from domain.settings.draft import StackDraft, known
from domain.settings.installed import FALLBACK_PEERS_LIMIT, DnsSettings, KeeperSettings, MirrorSettings, NetbirdSettings
from domain.settings.section import Section
from domain.values.forwarders import Forwarder

_IMAGES: Final = "from which images come"
_PACKAGES: Final = "from which packages come"
PROGRAM_HOSTS: Final = {
    "api.netbird.io": "NetBird's management service",
    "signal.netbird.io": "NetBird's signal service",
    "docker.io": _IMAGES,
    "registry-1.docker.io": _IMAGES,
    "auth.docker.io": _IMAGES,
    "registry.k8s.io": _IMAGES,
    "helm.cilium.io": "from which charts come",
    "objects.githubusercontent.com": "from which k3s comes",
    "release-assets.githubusercontent.com": "from which k3s comes",
    "deb.debian.org": _PACKAGES,
    "security.debian.org": _PACKAGES,
    "archive.ubuntu.com": _PACKAGES,
    "security.ubuntu.com": _PACKAGES,
    "get.k3s.io": "from which k3s's installer comes",
    "public.ecr.aws": _IMAGES,
}
"""Hosts that every cluster has to do with, or most have, though no setting names them."""


def zone_of_nobody_else(draft: StackDraft) -> Iterator[Problem]:
    """The cluster's zone, and that of its fallback names, is in nobody's use: no whole domain of the Internet, and no
    zone of a host that the settings name. Pods ask the clusters alone for every name in it.
    """
    for setting, whom, free in _ZONES:
        zone = known(draft.settings, *setting.split("."))
        if zone is not None:
            yield from _in_use(draft, setting, zone, whom, free)


_ZONES: Final = (
    ("network.dns_zone", "this cluster alone for names of its zone", ("{}.internal", "{}.pods.internal")),
    ("dns.fallback.zone", "linked clusters alone for names of this zone", ("any.internal", "any.pods.internal")),
)
"""The settings that take a zone for clusters: whom pods ask for its names, and zones that may be free; {} is the
stack."""


def _in_use(draft: StackDraft, setting: str, zone: str, whom: str, free: tuple[str, ...]) -> Iterator[Problem]:
    top, stack = zone.rpartition(".")[2], draft.stack
    private = f"take one like {_free(zone, draft, free)}"
    if (covered := _covered(zone, draft)) is not None:
        host, what = covered
        rule = f"covers {host}, {what}; pods ask {whom}, and would not find it"
        yield Problem(stack, setting, zone, rule, private)
    elif top in RESERVED:
        yield Problem(stack, setting, zone, f"ends in {top}, {RESERVED[top]}", private)
    elif top.isdigit():
        yield Problem(stack, setting, zone, "ends in a number; programs take such names for addresses", private)
    elif holds_domains(zone):
        rule = f"holds domains of the Internet; pods ask {whom}, and would find none"
        yield Problem(stack, setting, zone, rule, private)
    elif registered(zone):
        rule = f"is a whole domain of the Internet; pods ask {whom}, and would not find what else is there"
        within = f"{stack if '{}' in free[0] else 'any'}.{zone}"
        fix = f"take a zone within it, like {within}, or {_free(zone, draft, free)}"
        yield Problem(stack, setting, zone, rule, fix)


def _free(zone: str, draft: StackDraft, free: tuple[str, ...] = _ZONES[0][2]) -> str:
    """Another zone, over no host that is in use."""
    proposals = (pattern.format(draft.stack) for pattern in (*free, free[-1].replace("pods", "zone.pods")))
    return next(proposal for proposal in proposals if proposal != zone and _covered(proposal, draft) is None)


def _covered(zone: str, draft: StackDraft) -> tuple[str, str] | None:
    """The first host in the zone that is in use, and as what."""
    for host, what in (*hosts_of(draft), *PROGRAM_HOSTS.items(), *places.hosts().items()):
        if covers(zone, host):
            return host, what
    return None


def covers(zone: str, name: str) -> bool:
    """Whether the name is that of the zone or lies in it."""
    return name == zone or name.endswith(f".{zone}")


def hosts_of(draft: StackDraft) -> Iterator[tuple[str, str]]:
    """Names of hosts that the user wrote into the settings, each with the words for what it is. Of a default he may
    have never heard; its host is among :data:`PROGRAM_HOSTS`.
    """
    for setting, value in _addresses(draft):
        try:
            host = urlsplit(value).hostname
        except ValueError:
            continue
        if host and not host.replace(".", "").isdigit():
            yield host.lower(), f"the host of {setting}"
    for setting in ("netbird.agent_image", "keeper.image", "dns.relay_image"):
        image = str(known(draft.settings, *setting.split(".")) or "")
        registry, slash, _ = image.partition("/")
        if image != _default(setting) and slash and "." in registry:
            yield registry.partition(":")[0], f"the registry of {setting}"


_SECTIONS: Final[Mapping[str, type[Section]]] = {
    "netbird": NetbirdSettings,
    "keeper": KeeperSettings,
    "dns": DnsSettings,
    "mirrors": MirrorSettings,
}


def _default(setting: str) -> Any:
    section, _, name = setting.partition(".")
    return _SECTIONS[section].model_fields[name].default


def _addresses(draft: StackDraft) -> Iterator[tuple[str, str]]:
    for setting in ("netbird.management_url", "mirrors.k3s", "mirrors.charts"):
        value = known(draft.settings, *setting.split("."))
        if value is not None and value != _default(setting):
            yield setting, value
    for provider in places.providers():
        for name in provider.addresses:
            if (value := known(draft.settings, provider.namespace, name)) is not None:
                yield f"{provider.namespace}:{name}", value
    registries: Mapping[str, str] = known(draft.settings, "mirrors", "registries") or {}
    for registry, value in registries.items():
        yield f"mirrors.registries.{registry}", value
    environment: Mapping[str, str] = known(draft.settings, "netbird", "agent_env") or {}
    for name, value in environment.items():
        if "://" in value and value.isascii():
            yield f"netbird.agent_env.{name}", value


# --- servers of forwarded zones --------------------------------------------------------------------------------------

_NEVER: Final = {
    IPv4Network("0.0.0.0/8"): "is no address of a server",
    IPv4Network("127.0.0.0/8"): "is a loopback address; the cluster's DNS service would ask itself",
    IPv4Network("169.254.0.0/16"): "is a link-local address, which pods don't reach",
    IPv4Network("224.0.0.0/4"): "is a multicast address, and no DNS server has one",
    IPv4Network("255.255.255.255/32"): "is the broadcast address, and no DNS server has it",
    IPv4Network("240.0.0.0/4"): "is a reserved address, and no DNS server has one",
    NETBIRD_RANGE: f"is in NetBird's range {NETBIRD_RANGE}, which pods don't reach",
}
_NO_SERVER: Final = {
    "pod_cidr": "and a pod gets another address with each start",
    "service_cidr": "to which the link alone leads, and the names would go with it",
}
_OUTSIDE: Final = "name a DNS server outside, like 192.168.7.53"


def forward_servers_reached(draft: StackDraft) -> Iterator[Problem]:
    """The servers of a forwarded zone are addresses of hosts outside of the cluster that its pods can ask."""
    pods, nodes = known(draft.settings, "network", "pod_cidr"), known(draft.settings, "network", "node_cidr")
    for setting, server in forward_servers(draft):
        rule = next((words for network, words in _NEVER.items() if server.address in network), None)
        if rule is None and pods is not None and server.address in pods:
            rule = f"is in network.pod_cidr {pods}, {_NO_SERVER['pod_cidr']}"
        elif rule is None and nodes is not None and server.address in (nodes[0], nodes[-1]):
            rule = f"is the network's own or broadcast address of network.node_cidr {nodes}"
        elif rule is None and nodes is not None and server.address in nodes and server.port == RELAY_PORT:
            rule = f"is in network.node_cidr {nodes} at port {RELAY_PORT}, where the cluster's own DNS relay listens"
        if rule is not None:
            yield Problem(draft.stack, setting, str(server), rule, _OUTSIDE)


def forward_servers(draft: StackDraft) -> Iterator[tuple[str, Forwarder]]:
    """Each server with the place where it stands."""
    zones: Mapping[str, tuple[Forwarder, ...]] = known(draft.settings, "dns", "forward_zones") or {}
    for name, servers in zones.items():
        for index, server in enumerate(servers):
            yield f"dns.forward_zones.{name}.{index}", server


# --- between clusters ------------------------------------------------------------------------------------------------


def zones_over_hosts(drafts: Mapping[str, StackDraft]) -> Iterator[Problem]:
    """Zones that cover a host in use at a peer: its pods ask the link alone for names of the zone."""
    for name, draft in drafts.items():
        zone = known(draft.settings, "network", "dns_zone")
        if zone is None or _covered(zone, draft) is not None:
            continue
        for peer in known(draft.settings, "peers") or ():
            hosts = hosts_of(drafts[peer]) if peer in drafts and peer != name else ()
            found = next(((host, what) for host, what in hosts if covers(zone, host)), None)
            if found is not None:
                rule = f"covers {found[0]}, {found[1]} of {peer}; its pods ask this cluster alone for names of the zone"
                yield Problem(name, "network.dns_zone", zone, rule, f"take one like {_free(zone, draft)}")


def forward_servers_in_fleet(drafts: Mapping[str, StackDraft]) -> Iterator[Problem]:
    """Servers of forwarded zones in the pod or service CIDR of another cluster."""
    ranges = [
        (owner, kind, network)
        for owner, draft in drafts.items()
        for kind in ("pod_cidr", "service_cidr")
        if (network := known(draft.settings, "network", kind)) is not None
    ]
    for name, draft in drafts.items():
        for setting, server in forward_servers(draft):
            for owner, kind, network in ranges:
                if owner != name and server.address in network:
                    rule = f"is in {owner}: network.{kind} {network}, {_NO_SERVER[kind]}"
                    yield Problem(name, setting, str(server), rule, _OUTSIDE)


def forward_zones_foreign(draft: StackDraft) -> Iterator[Problem]:
    """A forwarded zone is not the cluster's own nor within it, and its servers are not services of the cluster: names
    would go round. It may be above the own one: CoreDNS takes the zone with the most labels.
    """
    zone, services = known(draft.settings, "network", "dns_zone"), known(draft.settings, "network", "service_cidr")
    for name, servers in (known(draft.settings, "dns", "forward_zones") or {}).items():
        setting = f"dns.forward_zones.{name}"
        if zone is not None and f".{name}".endswith(f".{zone}"):
            what = f"is {zone}" if name == zone else f"lies in {zone}"
            rule = f"{what}, the zone of this cluster; its names would not be found any more"
            yield Problem(draft.stack, setting, "", rule, "forward only zones of others")
        for index, server in enumerate(servers):
            if services is not None and server.address in services:
                rule = f"is in network.service_cidr {services}; a question would come back here"
                yield Problem(draft.stack, f"{setting}.{index}", str(server), rule, "name a DNS server outside")


# --- names that fall back to peers -----------------------------------------------------------------------------------


def fallback_zone_apart(draft: StackDraft) -> Iterator[Problem]:
    """The zone of fallback names is apart from the cluster's own and is not forwarded; the peers that it names are
    peers, each once.
    """
    stack, zone = draft.stack, known(draft.settings, "dns", "fallback", "zone")
    own, forwarded = known(draft.settings, "network", "dns_zone"), known(draft.settings, "dns", "forward_zones")
    if zone is not None and own is not None and (met := meets(zone, own)) is not None:
        rule = f"{met} {own}, the zone of this cluster; a name has to say what is meant"
        yield Problem(stack, _FALLBACK, zone, rule, "take a zone beside it, like any.internal")
    elif zone is not None and zone in (forwarded or {}):
        yield Problem(stack, _FALLBACK, zone, "is in dns.forward_zones, too; other servers answer for it", _BESIDE)
    peers = known(draft.settings, "peers")
    listed = known(draft.settings, "dns", "fallback", "peers") or ()
    for index, peer in enumerate(listed):
        setting = f"dns.fallback.peers.{index}"
        if peers is not None and peer not in peers:
            there = ", ".join(peers[:FALLBACK_PEERS_LIMIT]) or "none"
            yield Problem(
                stack, setting, peer, "is not in peers; only a linked cluster can be asked", f"take those of {there}"
            )
        elif peer in listed[:index]:
            yield Problem(stack, setting, peer, "is listed twice", "remove one")
    if zone is not None and not listed and len(peers or ()) > FALLBACK_PEERS_LIMIT:
        rule = f"would ask all {len(peers)} peers, one after the other; at most {FALLBACK_PEERS_LIMIT} are possible"
        yield Problem(stack, _FALLBACK, zone, rule, "name those to be asked in dns.fallback.peers")


_FALLBACK: Final = "dns.fallback.zone"
_BESIDE: Final = "take another one, or remove it there"


def meets(zone: str, other: str) -> str | None:
    """How the zone meets the other one, in words that go on with it; None where they are apart."""
    if zone == other:
        return "is"
    return "lies in" if covers(other, zone) else ("covers" if covers(zone, other) else None)


def fallback_zones_in_fleet(drafts: Mapping[str, StackDraft]) -> Iterator[Problem]:
    """Zones of fallback names that meet the zone of another cluster."""
    zones = {name: known(draft.settings, "network", "dns_zone") for name, draft in drafts.items()}
    for name, draft in drafts.items():
        zone = known(draft.settings, "dns", "fallback", "zone")
        for owner, other in zones.items():
            if zone is None or other is None or owner == name or (met := meets(zone, other)) is None:
                continue
            rule = f"{met} {other}, the zone of {owner}; a name has to say what is meant"
            yield Problem(name, _FALLBACK, zone, rule, "take a zone beside it, like any.internal")


ZONE_RULES: Final = (zone_of_nobody_else, forward_servers_reached, forward_zones_foreign, fallback_zone_apart)
