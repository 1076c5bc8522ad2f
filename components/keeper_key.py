"""The key with which the keepers of one cluster know each other: random, and the same for as long as the stack's state.

Not derived from another secret: the keepers of a cluster would not hear each other from a change of that until the
kubelet of each node has brought the new key.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

KEY_BYTES: Final = 32


class _KeyProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("keeper-key", {"key": secrets.token_hex(KEY_BYTES)})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)


class KeeperKey(Resource, module="isthmus", name="KeeperKey"):
    """``key``: hexadecimal digits, secret."""

    key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["key"])
        super().__init__(_KeyProvider(), name, {"key": None}, pulumi.ResourceOptions.merge(opts, secret))
