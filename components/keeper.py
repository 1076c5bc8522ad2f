"""The keeper on every router of a linked cluster: it watches the links, and moves them where this router fails.

Its objects come from ``domain/objects/keeper.py``, what it is told from ``domain/keeper.py``; what it does is
the package ``keeper/``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.child_names import formerly
from components.inputs import text_of
from components.keeper_key import KeeperKey
from components.kubernetes_object import KubernetesObject
from domain.keeper import config_text
from domain.objects import keeper as objects


@dataclass(frozen=True)
class KeeperArgs:
    """``config`` is the content of keeper.json, ``program`` the archive, which is made of a package here, ``policies``
    the names of the egress policies that the keeper steers. ``api`` is host and port where a node reaches the API; None
    where Kubernetes says it itself.

    ``agents`` is the namespace of NetBird's agents, ``after`` has to be there first, that namespace as well. All but
    the program may come from other resources.
    """

    image: pulumi.Input[str]
    config: Mapping[str, pulumi.Input[Any]]
    program: bytes
    policies: Sequence[pulumi.Input[str]]
    api: tuple[pulumi.Input[str], pulumi.Input[int]] | None
    agents: pulumi.Input[str]
    after: Sequence[pulumi.Input[pulumi.Resource]]


class Keeper(pulumi.ComponentResource):
    """``there``: the DaemonSet. Whether it works on each router is for the waits to see. ``told``: a mark of what the
    keepers are told.
    """

    there: pulumi.Resource
    told: pulumi.Output[str]

    def __init__(self, name: str, args: KeeperArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:keeper:Keeper", name, {}, opts)

        def named(earlier: str, after: Sequence[pulumi.Input[pulumi.Resource]]) -> tuple[str, pulumi.ResourceOptions]:
            own_name = earlier.replace(objects.NAME, f"isthmus-{name}", 1)
            return own_name, pulumi.ResourceOptions(
                parent=self, depends_on=list(after), aliases=formerly(own_name, earlier)
            )

        def own(earlier: str, manifest: dict[str, Any]) -> KubernetesObject:
            own_name, own_opts = named(earlier, args.after)
            return KubernetesObject(own_name, manifest, opts=own_opts)

        given: pulumi.Output[dict[str, Any]] = pulumi.Output.from_input(dict(args.config))
        config = given.apply(config_text)
        self.told = config.apply(lambda text: hashlib.sha256(text.encode()).hexdigest())
        key = KeeperKey(*named(objects.KEY, []))
        secret_key: pulumi.Output[str] = pulumi.Output.secret(key.key)
        needed = [
            own(objects.NAME, objects.settings_map(config)),
            own(objects.PROGRAM, objects.program_map(args.program)),
            own(objects.KEY, objects.key_secret(secret_key)),
            *(own(objects.resource_name(right), right) for right in objects.rights(args.policies, args.agents)),
        ]
        own_name, own_opts = named(objects.NAME, needed)
        api = None if args.api is None else (args.api[0], text_of(args.api[1]))
        workload = objects.daemon_set(args.image, args.program, api)
        self.there = KubernetesObject(own_name, workload, awaited=False, opts=own_opts)
        self.register_outputs({})
