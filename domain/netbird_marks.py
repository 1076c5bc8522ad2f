"""Whose an object in NetBird is: the marks that this program leaves there, and how they are read.

All clusters share one NetBird account, and so may stacks of other projects, and other states of a stack of the same
name. A stack's state holds a random number, its *instance*. Descriptions end with a mark that carries it. Groups and
zones have no description; for them the stack holds its name by a group that nobody is in, the *claim*.

It imports nothing of the settings: the provider's process starts in every preview.
"""

from __future__ import annotations

import re
from typing import Final

OURS: Final = "isthmus-"
"""Every NetBird object of this program has a name with this start; nothing else is ever changed or deleted."""

_MARK: Final = re.compile(r"\(made by Isthmus, stack \S+, instance (?P<instance>[0-9a-f]{32})\)$")


def claim_name(cluster: str, instance: str) -> str:
    """The name of the group by which the state with this instance holds the cluster's names in an account."""
    return f"{OURS}{cluster}-stack-{instance}"


def claimed_by(cluster: str, group: str) -> str | None:
    """The instance of a claim on this cluster's names; None for any other group."""
    found = re.fullmatch(rf"{OURS}{re.escape(cluster)}-stack-([0-9a-f]{{32}})", group)
    return found[1] if found else None


def marked(text: str, cluster: str, instance: str) -> str:
    """A description with the mark of its stack."""
    return f"{text} (made by Isthmus, stack {cluster}, instance {instance})"


def instance_of(description: str | None) -> str | None:
    """The instance in a description's mark; None where there is no mark."""
    found = _MARK.search(description or "")
    return found["instance"] if found else None


def may_be_in(group: str, peer: str) -> bool:
    """Whether a peer of this name belongs into a group of ours: routers into that of the routers, nobody into others.

    Whoever else is in one, the policies let in to the other clusters, or let the other clusters in to.
    """
    plain = group.removesuffix("s")
    return group.endswith("-routers") and (peer == plain or peer.startswith(f"{plain}-"))


def setup_key_into(group: str) -> str:
    """The name of the setup key that lets routers into their group; as :func:`domain.netbird.setup_key_name`."""
    return group.removesuffix("s")
