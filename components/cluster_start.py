"""Lets the first server begin the cluster, once in the life of a stack.

A server of several that finds its disk empty joins the others (``domain/files/join-k3s.sh``). Whether there is a
cluster to join, or one to begin, can't be told on the machine: servers that don't answer may be gone, away, or not made
yet. Nor can user data tell it, since the engine makes a replaced server with the user data of its first boot
(``ignore_changes``). The stack's state can: it has this resource from the moment when the cluster was allowed to begin.
"""

from __future__ import annotations

from posixpath import dirname
from typing import Final

import pulumi
import pulumi_command as command

from components.child_names import formerly
from components.cluster import Shell
from domain.names import MAY_START, NODE_DIRECTORY

NOTHING: Final = ":"
PERMIT: Final = (
    f"if [ -d {NODE_DIRECTORY} ] || [ ! -e /etc/rancher/k3s ]; then "
    f"umask 077; mkdir -p {dirname(MAY_START)}; touch {MAY_START}; fi"
)
"""A server that has data passes over it, and one that hears of a cluster joins that all the same. A machine with k3s of
somebody else is left as it is, as the installation leaves it.
"""


def allow_start(
    component: str,
    cluster: str,
    *,
    several: bool,
    shell: Shell,
    begun: bool,
    hooks: pulumi.ResourceHookBinding | None,
    opts: pulumi.ResourceOptions,
) -> list[pulumi.Resource]:
    """The permission of the ``component`` for the server behind ``shell``; nothing where there is no other one that it
    could join. ``begun`` when the stack's outputs know of a cluster: one that was raised before there was this resource
    gets none.

    What ``begun`` says counts at the creation alone, and a change of the connection runs nothing.
    """
    if not several:
        return []
    name = f"{component}-start"
    start = command.remote.Command(
        name,
        connection=shell.connection(),
        create=shell.as_root(NOTHING if begun else PERMIT),
        update=shell.as_root(NOTHING),
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                ignore_changes=["create"],
                custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m"),
                hooks=hooks,
                aliases=formerly(name, f"isthmus-{cluster}-start"),
            ),
        ),
    )
    return [start]
