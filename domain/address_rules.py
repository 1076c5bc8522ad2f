"""Rules for addresses within one stack; ranges of several are ``range_rules.py``'s."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.names import RELAY_SERVICE_OFFSET
from domain.places.registry import node_count
from domain.problems import Problem
from domain.settings.draft import StackDraft, known

NODE_POD_PREFIX: Final = 24
"""Kubernetes gives every node a range of this size out of the pod CIDR."""


def cluster_dns_in_services(draft: StackDraft) -> Iterator[Problem]:
    """The DNS service has an address of the service CIDR that nothing else has."""
    given, services = known(draft.settings, "network", "cluster_dns"), known(draft.settings, "network", "service_cidr")
    if given is None or services is None:
        return
    setting, default = "network.cluster_dns", f"leave it out, or take {services[10]}"
    if given not in services:
        yield Problem(draft.stack, setting, str(given), f"is not in network.service_cidr {services}", default)
    elif given in (services[0], services[-1]):
        yield Problem(draft.stack, setting, str(given), f"is the first or last address of {services}", default)
    elif given == services[1]:
        yield Problem(draft.stack, setting, str(given), "is the address of the Kubernetes API's service", default)
    elif given == services[RELAY_SERVICE_OFFSET]:
        yield Problem(draft.stack, setting, str(given), "is the address of the DNS relay's service", default)


def pods_for_every_node(draft: StackDraft) -> Iterator[Problem]:
    """The pod CIDR holds a /24 for every node."""
    pods, nodes = known(draft.settings, "network", "pod_cidr"), node_count(draft)
    if pods is None or nodes is None:
        return
    room = 1 << max(0, NODE_POD_PREFIX - pods.prefixlen)
    if nodes > room:
        prefix = NODE_POD_PREFIX - (nodes - 1).bit_length()
        yield Problem(
            draft.stack,
            "network.pod_cidr",
            str(pods),
            f"holds a /{NODE_POD_PREFIX} for {room} nodes, and there are {nodes}",
            f"take a /{prefix}",
        )
