"""The guard on every node of a linked cluster: packets for a peer leave by the tunnel or are refused (``guard.sh``).

One for all links. It is there before the first egress policy, and what it lays on a node outlasts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import IPv4Network

import pulumi

from components.child_names import formerly
from components.kubernetes_object import KubernetesObject
from domain.guard import guard_environment
from domain.objects.guard import NAME, daemon_set, environment_of


@dataclass(frozen=True)
class GuardArgs:
    """``ranges`` of the peers; ``image`` has iproute2 and iptables, which that of NetBird's agent has. ``keeper_port``
    is None without keepers. All of it may come from other resources.
    """

    ranges: Sequence[pulumi.Input[IPv4Network | str]]
    pod_cidr: pulumi.Input[IPv4Network | str]
    service_cidr: pulumi.Input[IPv4Network | str]
    image: pulumi.Input[str]
    after: Sequence[pulumi.Input[pulumi.Resource]]
    keeper_port: pulumi.Input[int] | None = None


class Guard(pulumi.ComponentResource):
    """``there``: the DaemonSet. Whether it works on each node is for the waits to see."""

    there: pulumi.Resource

    def __init__(self, name: str, args: GuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:guard:Guard", name, {}, opts)
        own_name = f"isthmus-{name}"
        given = pulumi.Output.all(list(args.ranges), args.pod_cidr, args.service_cidr, args.keeper_port)
        environment = given.apply(lambda known: environment_of(guard_environment(*known)))
        script = (files("components") / "files" / "guard.sh").read_text(encoding="utf-8")
        self.there = KubernetesObject(
            own_name,
            daemon_set(args.image, script, environment),
            awaited=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after), aliases=formerly(own_name, NAME)),
        )
        self.register_outputs({})
