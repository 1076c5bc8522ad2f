"""How often the settings of k3s have changed for the nodes of a role, as a resource that counts.

A node takes them where its number is another one (``node_generation.py``), which is noted once it has. A checksum in
the place of the number would not do: where a node did not come back with new settings and the stack file has those of
before again, it would be the one that was noted last, and nobody would take the wrong ones from the node.
"""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.node_member import plain


class SettingsProvider(ResourceProvider):
    """Of :class:`NodeSettings`. It counts, and asks nobody."""

    serialize_as_secret_always = False
    """The serialised provider is a reference to the class; as a secret it would only hide that."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """The first ones."""
        return CreateResult(str(props["role"]), {**plain(props), "number": 1})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """By the checksum alone; the role is in the resource's name."""
        return DiffResult(changes=_olds.get("digest") != _news.get("digest"))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Others."""
        return UpdateResult({**plain(_news), "number": int(_olds["number"]) + 1})


class NodeSettings(Resource, module="isthmus", name="NodeSettings"):
    """The settings of k3s of all nodes of a role, as their checksum (:func:`domain.node_files.settings_digest`)."""

    number: pulumi.Output[int]

    def __init__(self, name: str, *, role: str, digest: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(SettingsProvider(), name, {"role": role, "digest": digest, "number": None}, opts)
