"""Names across clusters, as CoreDNS configuration: the own zone, the peers' zones, and the relay between them.

Where a cluster has several routers, and so several relays, each of its nodes has a *front*, which the cluster's CoreDNS
asks instead of a relay.

It owns the text of the ConfigMap ``coredns-custom`` (read by the cluster's own CoreDNS, so only options that every
CoreDNS since 1.13.2 knows: a wrong one stops the DNS of the whole cluster at its next start) and of the relay's
Corefile (its own image, CoreDNS 1.14.5 or later).

A loop can't form: the relay answers for the own zone on wt0 only, and for peers' zones on the node's address only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from domain.names import RELAY_PORT
from domain.overlay import NETBIRD_INTERFACE
from domain.reverse_zones import REVERSE, reverse_zones
from domain.settings.installed import DnsSettings

CUSTOM_CONFIG_MAP: Final = "coredns-custom"
"""In kube-system; k3s's Corefile imports its ``*.server`` keys (https://docs.k3s.io/advanced)."""

HEALTH_ADDRESS: Final = "127.0.0.1:8053"
"""The relay's liveness, path /health. Not 8080 and 8181 of every address: the relay lives in the node's network."""
READY_ADDRESS: Final = "127.0.0.1:8054"
METRICS_PORT: Final = 9154
FRONT_HEALTH_PORT: Final = 8053
FRONT_READY_PORT: Final = 8054
"""Of every address: a front is in the network of its own pod."""
RELAY_WAIT_MS: Final = 600
"""For one of several relays of a peer: more than a round trip to it takes and its CoreDNS needs, and so much less than
:data:`FRONT_WAIT_MS` that another one can still answer while the front waits."""
FRONT_WAIT_MS: Final = 950
"""For one of several relays of our own: nobody waits for a dead one for longer than a second. A dead one here and a
dead one there together are less than the 2 s that the cluster's CoreDNS waits for the front."""
NO_RELAY_SECONDS: Final = 10
"""How often the relay's log says at most that no relay of a peer answers, with the number of questions."""
HOST_IP_VARIABLE: Final = "HOST_IP"
"""Environment of the relay: the node's address (downward API, ``status.hostIP``)."""
FALLBACK_ADDRESS: Final = "127.0.0.1"
FALLBACK_PORT: Final = 5300
"""Where the cluster's CoreDNS asks itself for the parts of a fallback zone: its own cluster here, its peers at the
ports behind. In the network of its pod, where nothing else listens on loopback.
"""


@dataclass(frozen=True)
class PeerZone:
    """A peer's zone and the NetBird addresses of its routers."""

    zone: str
    routers: tuple[IPv4Address, ...]


@dataclass(frozen=True)
class LinkedZone:
    """What a linked peer has names for: its zone, and the ranges of its pods and services."""

    cluster: str
    zone: str
    ranges: tuple[IPv4Network, ...] = ()


def zone_key(zone: str) -> str:
    """Key in ``coredns-custom``; the ending makes k3s's Corefile import it as a server block of its own."""
    return f"{zone}.server"


def own_zone(zone: str, dns: DnsSettings) -> str:
    """The cluster's own zone, answered natively: a rewrite to cluster.local answers under a name that wasn't asked
    for, and glibc throws such an answer away.

    Peers ask for names of addresses as names of this zone (:func:`peer_zone`), which are turned back here: so this
    plugin answers them, with names of this zone, and own pods see theirs of cluster.local as before.
    """
    return f"""{zone}:53 {{
    errors
    rewrite name suffix .{REVERSE}.{zone} .{REVERSE} answer auto
    kubernetes {zone} {REVERSE} {{
        endpoint_pod_names
        ttl {dns.record_ttl_seconds}
    }}
    loadbalance
}}
"""


def peer_zone(peer: LinkedZone, relay_ip: IPv4Address, dns: DnsSettings, *, front: bool = False) -> str:
    """A peer's zone, asked of the relay. A dead link gives SERVFAIL within 2 s, the own zone is another block.

    The names of the peer's addresses are asked for as names of its zone, which relays let through anyway; a peer of an
    earlier program denies them. What ``dns.forward_zones`` says of such a zone counts.
    """

    def block(zones: Sequence[str], rewrite: str, kept: Sequence[str]) -> str:
        return f"""{" ".join(f"{zone}:53" for zone in zones)} {{
    errors
{rewrite}{_asked_of_relay(relay_ip, dns, kept, front=front)}
    loadbalance
}}
"""

    text = block([peer.zone], "", ())
    reverse = [zone for zone in reverse_zones(peer.ranges) if zone not in dns.forward_zones]
    if reverse:
        rewrite = f"    rewrite name suffix .{REVERSE} .{REVERSE}.{peer.zone} answer auto\n"
        text += block(reverse, rewrite, (REVERSE, peer.zone))
    return text


def _asked_of_relay(
    relay_ip: IPv4Address, dns: DnsSettings, kept: Sequence[str], *, front: bool, stale: bool = True
) -> str:
    """``kept``: the zones of names that the cache sees, where that is not the block's: with a rewrite those before it
    (CoreDNS before 1.14.7) and those behind (since). ``stale``: whether what was known is served without an answer.

    A ``front`` is asked twice: it has the address of its pod, and who has asked the one before goes on asking that.
    """
    serve_stale = f"\n        serve_stale {dns.stale_seconds}s verify" if stale and dns.stale_seconds else ""
    return f"""    cache {" ".join([str(dns.cache_seconds), *kept])} {{
        servfail 2s{serve_stale}
    }}
    forward . {relay_ip} {{
        health_check 1s
        max_connect_attempts {2 if front else 1}
        failfast_all_unhealthy_upstreams
        max_concurrent 500
    }}"""


def fallback_zone(
    zone: str, peers: Sequence[LinkedZone], relay_ip: IPv4Address, dns: DnsSettings, *, front: bool = False
) -> str:
    """A zone of names that are this cluster's services where it has them, and otherwise those of the first of ``peers``
    that has. Arguments as of :func:`peer_zone`.

    CoreDNS has one rewrite and one ``kubernetes`` a block, so each part is a block of its own on loopback, and the zone
    asks one after the other as long as a name is denied (``next``). The own part does not fall through by itself: then
    a CoreDNS that has not reached its API yet would hand its own services to a peer.

    A peer that can't be asked is passed over. What no other one has is asked of all of them again, out of their
    caches, for an error then: a name is denied only where everybody denies it.
    """

    def part(index: int) -> str:
        return f"{FALLBACK_ADDRESS}:{FALLBACK_PORT + index}"

    order = range(1, len(peers) + 1)
    chain = [(0, "NXDOMAIN"), *((index, "NXDOMAIN SERVFAIL REFUSED") for index in order)]
    if len(peers) > 1:
        chain += [(index, "NXDOMAIN") for index in order]
    text = f"{zone}:53 {{\n    errors\n    loadbalance\n"
    for place, (index, passed_over) in enumerate(chain):
        then = "" if place == len(chain) - 1 else f"        next {passed_over}\n"
        text += f"    forward . {part(index)} {{\n        max_fails 0\n        max_connect_attempts 1\n{then}    }}\n"
    text += f"""}}
{zone}:{FALLBACK_PORT} {{
    bind {FALLBACK_ADDRESS}
    errors
    kubernetes {zone} {{
        endpoint_pod_names
        ttl {dns.record_ttl_seconds}
        ignore empty_service
    }}
}}
"""
    for index, peer in zip(order, peers, strict=True):
        # With several peers another one is better than what this one said once.
        text += f"""{zone}:{FALLBACK_PORT + index} {{
    bind {FALLBACK_ADDRESS}
    errors
    rewrite name suffix .{zone} .{peer.zone} answer auto
{_asked_of_relay(relay_ip, dns, (zone, peer.zone), front=front, stale=len(peers) == 1)}
}}
"""
    return text


def front_corefile(zones: Sequence[str], relays: Sequence[IPv4Address]) -> str:
    """What stands between the cluster's CoreDNS and several relays, on every node: the CoreDNS of k3s may be one that
    waits two seconds for an upstream that is dead, whatever it is told. ``relays`` are addresses of nodes.

    A relay that says SERVFAIL or REFUSED has no way to the peer, or is not known there yet, so another one is asked.
    """
    if not zones or len(relays) < 2:
        raise ValueError("there is a front only where there are several relays for a zone")
    blocks = []
    for index, zone in enumerate(sorted(zones)):
        process = f"""
    health :{FRONT_HEALTH_PORT}
    ready :{FRONT_READY_PORT}
    reload"""
        blocks.append(f"""{zone}:{RELAY_PORT} {{
    errors
    bufsize 1232{"" if index else process}
    forward . {_upstreams(relays)} {{
        health_check 500ms no_rec domain {zone}
        read_timeout {FRONT_WAIT_MS}ms
        max_connect_attempts {len(relays)}
{_ONE_AFTER_THE_OTHER}
    }}
}}
""")
    return "".join(blocks)


_ONE_AFTER_THE_OTHER: Final = """\
        max_fails 1
        failover SERVFAIL REFUSED
        failfast_all_unhealthy_upstreams
        max_concurrent 500
        policy round_robin"""
"""Of several upstreams: all are used, and who is dead or has no way is passed over."""


def _upstreams(addresses: Sequence[IPv4Address]) -> str:
    return " ".join(f"{address}:{RELAY_PORT}" for address in addresses)


def forward_zone(zone: str, dns: DnsSettings) -> str:
    """A zone that other DNS servers answer. Over TLS their certificates are checked against those of the authorities
    that CoreDNS's image brings.
    """
    servers = dns.forward_zones[zone]
    name = servers[0].server_name
    tls = "" if name is None else f"\n        tls_servername {name}"
    return f"""{zone}:53 {{
    errors
    cache {dns.cache_seconds}
    forward . {" ".join(server.upstream for server in servers)} {{{tls}
        max_concurrent 500
    }}
}}
"""


def custom_zones(
    zone: str, peers: Sequence[LinkedZone], relay_ip: IPv4Address, dns: DnsSettings, *, front: bool = False
) -> Mapping[str, str]:
    """The data of ``coredns-custom``: the own zone, the zones of the peers that are linked, those that the settings
    forward elsewhere, and that of names which fall back to peers. ``peers`` are in the order of the settings; ``front``
    as of :func:`_asked_of_relay`.
    """
    data = {zone_key(zone): own_zone(zone, dns)}
    for name in sorted(dns.forward_zones):
        data[zone_key(name)] = forward_zone(name, dns)
    for peer in sorted(peers, key=lambda peer: peer.zone):
        data[zone_key(peer.zone)] = peer_zone(peer, relay_ip, dns, front=front)
    if dns.fallback is not None:
        chosen = dns.fallback.peers or [peer.cluster for peer in peers]
        linked = {peer.cluster: peer for peer in peers}
        asked = [linked[cluster] for cluster in chosen if cluster in linked]
        data[zone_key(dns.fallback.zone)] = fallback_zone(dns.fallback.zone, asked, relay_ip, dns, front=front)
    return data


def relay_corefile(
    *,
    zone: str,
    cluster_dns: IPv4Address,
    pod_cidr: IPv4Network,
    node_cidr: IPv4Network,
    peers: Sequence[PeerZone],
) -> str:
    """The relay's Corefile; ValueError without a peer, since there is no relay then.

    On wt0 only the peers' routers may ask, on the node's address only pods and nodes. Health, readiness, metrics and
    reload are of the process, so they stand in the first peer's block only.
    """
    if not peers or not all(peer.routers for peer in peers):
        raise ValueError("a DNS relay needs peers with routers")
    ordered = sorted(peers, key=lambda peer: peer.zone)
    askers = sorted({address for peer in ordered for address in peer.routers})
    blocks = [_towards_cluster(zone, cluster_dns, askers)]
    blocks += [_towards_peer(peer, pod_cidr, node_cidr, first=index == 0) for index, peer in enumerate(ordered)]
    return "".join(blocks)


def _towards_cluster(zone: str, cluster_dns: IPv4Address, askers: Sequence[IPv4Address]) -> str:
    return f"""{zone}:{RELAY_PORT} {{
    bind {NETBIRD_INTERFACE}
    errors
    acl {{
        allow net {" ".join(map(str, askers))}
        block
    }}
    bufsize 1232
    forward . {cluster_dns} {{
        health_check 1s no_rec domain {zone}
        max_connect_attempts 1
        failfast_all_unhealthy_upstreams
        max_concurrent 500
    }}
}}
"""


def _towards_peer(peer: PeerZone, pod_cidr: IPv4Network, node_cidr: IPv4Network, *, first: bool) -> str:
    """Of relays that CoreDNS has given up it says ``no healthy proxies``, once a question, and neither whose nor where.
    Where it counts such errors it writes the pattern in their place, so the pattern says it.
    """
    process = f"""
    health {HEALTH_ADDRESS}
    ready {READY_ADDRESS}
    prometheus {{${HOST_IP_VARIABLE}}}:{METRICS_PORT}
    reload"""
    several = f"""read_timeout {RELAY_WAIT_MS}ms
        max_connect_attempts {len(peer.routers)}
{_ONE_AFTER_THE_OTHER}"""
    alone = """read_timeout 800ms
        max_connect_attempts 2
        max_fails 1
        failfast_all_unhealthy_upstreams
        max_concurrent 500"""
    relays = _upstreams(peer.routers)
    none = f"no answer of its DNS relay{'s' if len(peer.routers) > 1 else ''} {relays}"
    return f"""{peer.zone}:{RELAY_PORT} {{
    bind {{${HOST_IP_VARIABLE}}}
    errors {{
        consolidate {NO_RELAY_SECONDS}s "no healthy proxies|{peer.zone}: {none} by {NETBIRD_INTERFACE}"
    }}
    acl {{
        allow net {pod_cidr} {node_cidr}
        drop
    }}
    bufsize 1232{process if first else ""}
    forward . {relays} {{
        health_check 1s no_rec domain {peer.zone}
        {several if len(peer.routers) > 1 else alone}
    }}
}}
"""
