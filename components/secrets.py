"""The secrets of a cluster, and how a stack has them in its configuration. They leave this module as secret Outputs
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import pulumi

from domain.keys import ClusterKeys
from domain.names import PROJECT
from domain.places.registry import secrets
from domain.settings.secrets import CLUSTER_SECRET, NETBIRD_API_TOKEN, Secret

T = TypeVar("T")


@dataclass(frozen=True)
class Secrets:
    """What is not in the configuration is not there; the settings' checks see to it that what a stack needs is.
    ``of_place`` are those that places have of their own, by their keys in a stack file.
    """

    derived: pulumi.Output[ClusterKeys] | None
    netbird_api_token: pulumi.Output[str]
    of_place: Mapping[str, pulumi.Output[str]]

    @classmethod
    def of(
        cls,
        cluster: str,
        *,
        netbird_api_token: pulumi.Input[str],
        cluster_secret: pulumi.Input[str] | None = None,
        of_place: Mapping[str, pulumi.Input[str]] | None = None,
    ) -> Secrets:
        """From the values that the settings of the same names describe, ``{"hcloud:token": TOKEN}`` for a cluster at
        Hetzner. What is given may come from other resources.
        """
        secret = None if cluster_secret is None else pulumi.Output.secret(cluster_secret)
        return cls(
            derived=None if secret is None else secret.apply(lambda text: ClusterKeys.derive(text, cluster)),
            netbird_api_token=pulumi.Output.secret(netbird_api_token),
            of_place={key: pulumi.Output.secret(value) for key, value in (of_place or {}).items()},
        )

    @property
    def keys(self) -> pulumi.Output[ClusterKeys]:
        """Token and keys, derived from ``clusterSecret``, for a stack that installs k3s."""
        return needed(self.derived, CLUSTER_SECRET.key)

    def needs(self, secret: Secret) -> pulumi.Output[str]:
        """That of the place, which the checks have found to be there."""
        return needed(self.of_place.get(secret.key), secret.key)


def read_secrets(stack: str) -> Secrets:
    """Reads them all; only for settings that have passed the checks."""
    # In a project of another name they may stand under ours as well.
    bags = pulumi.Config(), pulumi.Config(PROJECT)

    def read(secret: Secret) -> pulumi.Output[str] | None:
        namespace, _, name = secret.key.rpartition(":")
        where = bags if namespace == PROJECT else (pulumi.Config(namespace),)
        return next((found for bag in where if (found := bag.get_secret(name)) is not None), None)

    of_place = {key: read(secret) for key, secret in secrets().items()}
    derived_from, api_token = (of_place.pop(secret.key) for secret in (CLUSTER_SECRET, NETBIRD_API_TOKEN))
    return Secrets.of(
        stack,
        cluster_secret=derived_from,
        netbird_api_token=needed(api_token, NETBIRD_API_TOKEN.key),
        of_place={key: value for key, value in of_place.items() if value is not None},
    )


def needed(secret: pulumi.Output[T] | None, name: str) -> pulumi.Output[T]:
    """The secret ``name``, which the checks have found to be there."""
    if secret is None:
        raise ValueError(f"{name} is missing, and the checks of the settings did not see it")
    return secret
