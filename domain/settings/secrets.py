"""The secrets of a stack. Their values never come here: only their names do, for whether they are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Secret:
    """A secret's key in the stack file, what it is for, and the command that sets it."""

    key: str
    purpose: str
    command: str


CLUSTER_SECRET: Final = Secret(
    "isthmus:clusterSecret",
    "the k3s token and all SSH keys are derived from it",
    "openssl rand -hex 32 | pulumi config set --secret clusterSecret -s {stack}",
)
NETBIRD_API_TOKEN: Final = Secret(
    "isthmus:netbirdApiToken",
    "NetBird's objects are made with it",
    "pulumi config set --secret netbirdApiToken -s {stack}",
)
