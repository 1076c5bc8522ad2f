"""k3s on machines, wherever those stand: its first server begins it and is asked for its kubeconfig, and the nodes are
its members.

It owns no machine: the component that makes them says what each step comes after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.child_names import formerly
from components.cluster import Cluster, Shell, fetch_kubeconfig
from components.cluster_start import allow_start
from components.node_generation import Generations
from components.node_member import Member, join_members


@dataclass(frozen=True)
class K3sCluster:
    """``component`` makes the machines and is called ``name``; ``cluster`` names the kubeconfig's context. ``shell``
    leads to the server that begins it, and that ``several`` servers follow.
    """

    component: pulumi.ComponentResource
    name: str
    cluster: str
    shell: Shell
    several: bool

    def begins(
        self, *, begun: bool, hooks: pulumi.ResourceHookBinding | None, after: Sequence[pulumi.Resource]
    ) -> list[pulumi.Resource]:
        """What lets the server begin it, as of :func:`components.cluster_start.allow_start`."""
        return allow_start(
            self.name,
            self.cluster,
            several=self.several,
            shell=self.shell,
            begun=begun,
            hooks=hooks,
            opts=pulumi.ResourceOptions(parent=self.component, depends_on=list(after)),
        )

    def joined(
        self,
        members: Sequence[Member],
        *,
        fetched_again_with: pulumi.Input[str],
        others: Sequence[pulumi.Input[str]],
        after: Sequence[pulumi.Resource],
        drain_seconds: pulumi.Input[int],
        made_here: bool,
        hooks: pulumi.ResourceHookBinding | None = None,
        addresses: Sequence[pulumi.Output[str]] = (),
        generations: Generations | None = None,
    ) -> Cluster:
        """The cluster of these ``members``, once it serves its kubeconfig. ``fetched_again_with``, ``others`` and
        ``hooks`` as of :func:`components.cluster.fetch_kubeconfig`, ``made_here`` as of
        :func:`components.node_member.join_members`, ``addresses`` as of :class:`components.cluster.Cluster`,
        ``generations`` of machines that can be made anew.
        """
        name = f"{self.name}-kubeconfig"
        kubeconfig, fetched = fetch_kubeconfig(
            name,
            shell=self.shell,
            address=self.shell.host,
            context=self.cluster,
            fetched_again_with=fetched_again_with,
            kept=self.several,
            others=others,
            hooks=hooks,
            opts=pulumi.ResourceOptions(
                parent=self.component,
                depends_on=list(after),
                aliases=formerly(name, f"isthmus-{self.cluster}-kubeconfig"),
            ),
        )
        join_members(
            self.name,
            self.cluster,
            members,
            kubeconfig=fetched.stdout,
            gone_with=fetched,
            drain_seconds=drain_seconds,
            made_here=made_here,
            parent=self.component,
        )
        ready: list[pulumi.Resource] = [fetched]
        if generations is not None:
            ready += generations.in_a_row(
                self.name,
                self.cluster,
                kubeconfig=fetched.stdout,
                gone_with=fetched,
                drain_seconds=drain_seconds,
                parent=self.component,
            )
        return Cluster(kubeconfig, self.cluster, ready, machines=self.component, addresses=addresses)
