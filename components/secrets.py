"""The secrets of a stack, out of its configuration. They leave this module as secret Outputs only, but for the Hetzner token
that a hook needs in plain."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from domain.keys import ClusterKeys


@dataclass(frozen=True)
class Secrets:
    """``keys`` are derived from ``clusterSecret``. What a stack doesn't need is empty; the settings' checks see to it that
    what it needs is there."""

    keys: pulumi.Output[ClusterKeys]
    netbird_api_token: pulumi.Output[str]
    ssh_private_key: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    hcloud_token: pulumi.Output[str]


def read_secrets(stack: str) -> Secrets:
    """Reads them all; only for settings that have passed the checks."""
    config = pulumi.Config()

    def secret(key: str) -> pulumi.Output[str]:
        return config.get_secret(key) or pulumi.Output.secret("")

    return Secrets(
        keys=secret("clusterSecret").apply(lambda text: ClusterKeys.derive(text, stack)),
        netbird_api_token=secret("netbirdApiToken"),
        ssh_private_key=secret("sshPrivateKey"),
        kubeconfig=secret("kubeconfig"),
        hcloud_token=pulumi.Config("hcloud").get_secret("token") or pulumi.Output.secret(""),
    )
