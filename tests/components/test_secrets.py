"""The secrets of a stack, out of its configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.secrets import Secrets, needed, read_secrets
from domain.keys import ClusterKeys
from domain.places.hetzner.place import HCLOUD_TOKEN
from tests.components.recording import Run, run
from tests.domain.samples import CLUSTER_SECRET, SSH_PRIVATE_KEY

CONFIG = {
    "isthmus:netbirdApiToken": "nbp_token",
    "isthmus:clusterSecret": CLUSTER_SECRET,
    "isthmus:sshPrivateKey": SSH_PRIVATE_KEY,
    "isthmus:kubeconfig": "apiVersion: v1",
    "hcloud:token": "h" * 64,
}


def read(config: Mapping[str, str], project: str = "isthmus") -> tuple[Secrets, Run]:
    """The secrets, and what they are as outputs of a program."""
    found: list[Secrets] = []

    async def body() -> dict[str, Any]:
        secrets = read_secrets("mn")
        found.append(secrets)
        given = {
            "netbird": secrets.netbird_api_token,
            **{key.rpartition(":")[2]: value for key, value in secrets.of_place.items()},
            "k3s": None if secrets.derived is None else secrets.keys.apply(lambda keys: keys.k3s_token),
        }
        return {name: value for name, value in given.items() if value is not None}

    made = run(body, stack="mn", config=config, preview=False, project=project)
    return found[0], made


def test_each_is_what_the_configuration_says_and_a_secret() -> None:
    outputs = read(CONFIG)[1].outputs
    assert {name: output.value for name, output in outputs.items()} == {
        "netbird": "nbp_token",
        "sshPrivateKey": SSH_PRIVATE_KEY,
        "kubeconfig": "apiVersion: v1",
        "token": "h" * 64,
        "k3s": ClusterKeys.derive(CLUSTER_SECRET, "mn").k3s_token,
    }
    assert all(output.secret and output.known for output in outputs.values())


def test_a_stack_has_those_that_it_needs() -> None:
    secrets, made = read({"isthmus:netbirdApiToken": "nbp_token"})
    assert made.outputs.keys() == {"netbird"}
    assert (secrets.derived, secrets.of_place) == (None, {})
    unseen = "is missing, and the checks of the settings did not see it$"
    with pytest.raises(ValueError, match=f"^isthmus:clusterSecret {unseen}"):
        _ = secrets.keys
    with pytest.raises(ValueError, match=f"^hcloud:token {unseen}"):
        secrets.needs(HCLOUD_TOKEN)


def test_one_that_every_stack_needs_is_missed_at_once() -> None:
    with pytest.raises(ValueError, match=r"^isthmus:netbirdApiToken is missing"):
        read({key: value for key, value in CONFIG.items() if "netbird" not in key})


def test_in_a_project_of_another_name_both_names_count() -> None:
    """What stands under the project's own name comes first."""
    outputs = read({**CONFIG, "other:kubeconfig": "of the project"}, project="other")[1].outputs
    assert (outputs["kubeconfig"].value, outputs["netbird"].value) == ("of the project", "nbp_token")


def test_a_secret_that_is_there_is_handed_on() -> None:
    async def body() -> None:
        given = pulumi.Output.secret("x")
        assert needed(given, "x") is given

    asyncio.run(body())
