"""The DNS relay: CoreDNS in the network of each router node, between the cluster's DNS and the peers' relays; and the
fronts, which stand between that DNS and several relays, one on every node.

Objects and Corefiles come from ``domain``. They exist only when a peer is linked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import IPv4Address

import pulumi

from components import waits
from components.child_names import formerly
from components.kubernetes_object import KubernetesObject
from components.waiting import Waiting
from domain.objects import dns_relay as objects


@dataclass(frozen=True)
class DnsRelayArgs:
    """``service_ip`` is fixed by the address plan, because the cluster's Corefile names it. ``front`` is the Corefile
    of the fronts, None where one relay is asked by itself. All of it may come from other resources.
    """

    corefile: pulumi.Input[str]
    front: pulumi.Input[str] | None
    image: pulumi.Input[str]
    agent_image: pulumi.Input[str]
    service_ip: pulumi.Input[IPv4Address | str]
    waiting: Waiting
    after: Sequence[pulumi.Input[pulumi.Resource]]


class DnsRelay(pulumi.ComponentResource):
    """Passes queries on, in either direction. ``ready`` is done when it answers."""

    ready: pulumi.Input[pulumi.Resource]

    def __init__(self, name: str, args: DnsRelayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:dns_relay:DnsRelay", name, {}, opts)
        own_name = f"isthmus-{name}"
        aliases = formerly(own_name, objects.NAME)
        config = KubernetesObject(
            own_name,
            objects.corefile_map(objects.NAME, args.corefile),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after), aliases=aliases),
        )
        script = (files("components") / "files" / "wait-for-route.sh").read_text(encoding="utf-8")
        relay = KubernetesObject(
            own_name,
            objects.relay(args.image, args.agent_image, script, _mark(args.corefile)),
            awaited=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config], aliases=aliases),
        )
        self.ready = args.waiting.until(lambda client, _: waits.relays(client), after=relay)
        if args.front is not None:
            self.ready = self._fronts(f"isthmus-{name}-front", args, args.front)
        KubernetesObject(
            own_name,
            objects.service(pulumi.Output.from_input(args.service_ip).apply(str), fronts=args.front is not None),
            awaited=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.ready], aliases=aliases),
        )
        self.register_outputs({})

    def _fronts(self, name: str, args: DnsRelayArgs, corefile: pulumi.Input[str]) -> pulumi.Input[pulumi.Resource]:
        aliases = formerly(name, objects.FRONT)
        config = KubernetesObject(
            name,
            objects.corefile_map(objects.FRONT, corefile),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after), aliases=aliases),
        )
        front = KubernetesObject(
            name,
            objects.front(args.image, _mark(corefile)),
            awaited=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config], aliases=aliases),
        )
        return args.waiting.until(lambda client, _: waits.fronts(client), after=front, beside=[self.ready])


def _mark(corefile: pulumi.Input[str]) -> pulumi.Output[str]:
    text: pulumi.Output[str] = pulumi.Output.from_input(corefile)
    return text.apply(objects.mark)
