"""The secrets of a cluster, and how a stack has them in its configuration. They leave this module as secret Outputs
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import pulumi

from domain.keys import ClusterKeys
from domain.names import PROJECT

T = TypeVar("T")


@dataclass(frozen=True)
class Secrets:
    """What is not in the configuration is None; the settings' checks see to it that what a stack needs is there."""

    derived: pulumi.Output[ClusterKeys] | None
    netbird_api_token: pulumi.Output[str]
    ssh_private_key: pulumi.Output[str] | None
    kubeconfig: pulumi.Output[str] | None
    hcloud_token: pulumi.Output[str] | None

    @classmethod
    def of(
        cls,
        cluster: str,
        *,
        netbird_api_token: pulumi.Input[str],
        cluster_secret: pulumi.Input[str] | None = None,
        ssh_private_key: pulumi.Input[str] | None = None,
        kubeconfig: pulumi.Input[str] | None = None,
        hcloud_token: pulumi.Input[str] | None = None,
    ) -> Secrets:
        """From the values that the settings of the same names describe. What is given may come from other resources."""
        secret = _secret(cluster_secret)
        return cls(
            derived=None if secret is None else secret.apply(lambda text: ClusterKeys.derive(text, cluster)),
            netbird_api_token=pulumi.Output.secret(netbird_api_token),
            ssh_private_key=_secret(ssh_private_key),
            kubeconfig=_secret(kubeconfig),
            hcloud_token=_secret(hcloud_token),
        )

    @property
    def keys(self) -> pulumi.Output[ClusterKeys]:
        """Token and keys, derived from ``clusterSecret``, for a stack that installs k3s."""
        return needed(self.derived, "clusterSecret")


def read_secrets(stack: str) -> Secrets:
    """Reads them all; only for settings that have passed the checks."""
    # In a project of another name they may stand under ours as well.
    bags = pulumi.Config(), pulumi.Config(PROJECT)

    def secret(name: str) -> pulumi.Output[str] | None:
        return next((found for bag in bags if (found := bag.get_secret(name)) is not None), None)

    return Secrets.of(
        stack,
        cluster_secret=secret("clusterSecret"),
        netbird_api_token=needed(secret("netbirdApiToken"), "netbirdApiToken"),
        ssh_private_key=secret("sshPrivateKey"),
        kubeconfig=secret("kubeconfig"),
        hcloud_token=pulumi.Config("hcloud").get_secret("token"),
    )


def _secret(value: pulumi.Input[str] | None) -> pulumi.Output[str] | None:
    return None if value is None else pulumi.Output.secret(value)


def needed(secret: pulumi.Output[T] | None, name: str) -> pulumi.Output[T]:
    """The secret, which the checks have found to be there."""
    if secret is None:
        raise ValueError(f"{name} is missing, and the checks of the settings did not see it")
    return secret
