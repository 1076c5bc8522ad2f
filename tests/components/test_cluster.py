"""What every cluster has: a login, a kubeconfig, and a provider."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from components.cluster import Shell, that_answers
from tests.components.recording import Run, shared_run
from tests.components.several_servers import CASES, COMMAND


def test_kubernetes_provider_survives_an_unknown_kubeconfig(de: Run) -> None:
    inputs = de.one("pulumi:providers:kubernetes").inputs
    assert inputs["clusterIdentifier"] == "de"
    assert inputs["enableConfigMapMutable"] == "true"
    assert inputs["enableSecretMutable"] == "true"


def test_a_shell_always_has_a_host_key() -> None:
    with pytest.raises(TypeError, match="host_key"):
        Shell("192.0.2.1", "key")  # type: ignore[call-arg]


@pytest.mark.parametrize(("stack", "config", "server"), CASES)
def test_a_server_that_is_made_anew_takes_no_kubeconfig_along(stack: str, config: dict[str, Any], server: str) -> None:
    """With a dependency the engine would fetch it anew, from a server that is empty and joins the others."""
    fetched = shared_run(stack, config).one(COMMAND, "machines-kubeconfig")
    assert fetched.inputs["triggers"] == [stack]
    assert fetched.ignore_changes == ("triggers",)


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_the_only_server_made_anew_is_a_new_cluster(stack: str) -> None:
    fetched = shared_run(stack).one(COMMAND, "machines-kubeconfig")
    assert fetched.inputs["triggers"] != [stack]
    assert fetched.ignore_changes == ()


def test_the_first_address_that_answers() -> None:
    # Addresses of this test alone: at 127.0.0.1 somebody else may be given the same port.
    first, second, third, last = addresses = [f"127.71.11.{number}" for number in range(1, 5)]
    with socket.socket() as listening, socket.socket() as other:
        listening.bind((third, 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert asyncio.run(that_answers(addresses, port)) == third
        other.bind((second, port))
        other.listen()
        assert asyncio.run(that_answers(addresses, port)) == second, "the order counts, not who is quicker"
        assert asyncio.run(that_answers([first, last], port)) == first, "nobody does"
        assert asyncio.run(that_answers([last], port)) == last
