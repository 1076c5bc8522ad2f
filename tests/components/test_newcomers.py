"""A worker that would be newer than its servers is not made at Hetzner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from components import former_node
from components.former_node import LastUpdate
from components.kubernetes_client import KubernetesError
from components.newcomers import TooNewError, refuse_newer
from tests.components.recording import KUBECONFIG
from tests.domain.test_generation import SERVERS, node

LAST = LastUpdate("de", KUBECONFIG, ["198.51.100.1", "198.51.100.2"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which servers were asked. The first takes connections and does not answer, the second does."""
    found: list[str] = []

    class Client:
        def __init__(self, kubeconfig: str) -> None:
            (self._address,) = [address for address in LAST.addresses if address in kubeconfig]

        def request(self, method: str, path: str) -> dict[str, Any]:
            assert (method, path) == ("GET", "/api/v1/nodes")
            found.append(self._address)
            if self._address == LAST.addresses[0]:
                raise KubernetesError("503 no leader", 503)
            return {"items": [node(server) for server in SERVERS]}

    monkeypatch.setattr(former_node, "KubernetesClient", Client)
    monkeypatch.setattr(former_node, "why_unreachable", lambda _address, _port: None)
    return found


class Args:
    def __init__(self, name: str) -> None:
        self.name = name


def make(name: str, version: str, last: LastUpdate = LAST) -> None:
    async def run() -> None:
        args: Any = Args(name)
        await refuse_newer(last, SERVERS, version)(args)  # type: ignore[misc]  # it may give nothing to wait for

    asyncio.run(run())


def test_a_worker_of_a_newer_minor_release(asked: list[str]) -> None:
    with pytest.raises(TooNewError) as refused:
        make("de-agent-2", "v1.35.0+k3s1")
    assert str(refused.value) == (
        "de: de-agent-2 is not made: it would run k3s v1.35.0+k3s1, and the server de-server-1 runs v1.34.8+k3s1; a "
        "worker is never newer than a server. Write that k3s.version again until de-agent-2 is there, and the newer "
        "one then: `pulumi up` brings all nodes to it, servers first"
    )
    assert asked == LAST.addresses


def test_one_that_is_not_and_a_server(asked: list[str]) -> None:
    make("de-agent-2", "v1.34.9+k3s1")
    make("de-server-2", "v1.35.0+k3s1")
    assert asked == LAST.addresses, "a server is not asked for"


def test_a_cluster_that_can_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former_node, "why_unreachable", lambda _address, _port: "no answer")
    make("de-agent-2", "v1.35.0+k3s1")
    make("de-agent-2", "v1.35.0+k3s1", LastUpdate("de", None, LAST.addresses))
