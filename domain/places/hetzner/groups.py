"""The groups of servers that a stack file names, as far as it can be read: control plane, workers, pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.problems import shown
from domain.settings.draft import StackDraft, known

TODAYS: Final = ("control_plane", "workers")
"""The groups that every stack at Hetzner has."""


@dataclass(frozen=True)
class Group:
    """One of them. What is None is missing or was refused; ``location_setting`` is the one that says where it stands,
    and is the stack's own where the group has none.
    """

    setting: str
    server_type: str | None
    location: str | None
    location_setting: str


def groups(draft: StackDraft) -> Iterator[Group]:
    """All of them, pools by their names."""
    common = known(draft.settings, "hetzner", "location")
    for name in TODAYS:
        server_type = known(draft.settings, "hetzner", name, "server_type")
        yield Group(f"hetzner.{name}", server_type, common, "hetzner.location")
    for name, pool in pools(draft).items():
        own = getattr(pool, "location", None)
        setting = f"hetzner.pools.{shown(name)}"
        where = "hetzner.location" if own is None else f"{setting}.location"
        yield Group(setting, getattr(pool, "server_type", None), common if own is None else own, where)


def pools(draft: StackDraft) -> Mapping[str, Any]:
    """The pools by their names, in that order."""
    found: Mapping[str, Any] = known(draft.settings, "hetzner", "pools") or {}
    return dict(sorted(found.items()))
