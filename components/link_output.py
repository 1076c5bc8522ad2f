"""Writes the outputs ``link`` and ``offers``: what the peers' stacks read of this cluster (``domain/link.py`` is the
contract).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

import pulumi

from domain.link import Link, Offers, RouterLink
from domain.places.registry import StackSettings
from domain.plan import AddressPlan


def link_of(plan: AddressPlan, peers: Mapping[str, str]) -> Link:
    """The typed value. ``peers`` is {router node: NetBird address}."""
    return Link(
        cluster=plan.cluster,
        pod_cidr=plan.pod_cidr,
        service_cidr=plan.service_cidr,
        dns_zone=plan.dns_zone,
        node_ips=tuple(node.address for node in plan.nodes),
        routers=tuple(
            RouterLink(node=node.name, node_ip=node.address, peer_ip=IPv4Address(peers[node.name]))
            for node in plan.routers
        ),
    )


def link_output(plan: AddressPlan, peers: pulumi.Output[dict[str, str]]) -> pulumi.Output[dict[str, Any]]:
    """The output: plain on purpose, since a peer's stack may have another passphrase and no secret is in it."""
    return pulumi.Output.unsecret(peers.apply(lambda known: link_of(plan, known).output()))


def offers_output(settings: StackSettings) -> dict[str, Any]:
    """The output ``offers``."""
    return Offers(cluster_ips=settings.link.cluster_ips).output()
