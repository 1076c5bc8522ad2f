"""The Node of a server that is made anew: deleted by whichever server answers, and no reason to make none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from components import former_node
from components.former_node import GONE_SECONDS, LastUpdate, forget_before_create, forget_former_node
from components.kubernetes_client import KubernetesError
from tests.components.recording import KUBECONFIG, run_stack
from tests.domain.samples import DE, changed

LAST: Final = LastUpdate("de", KUBECONFIG, ["198.51.100.1", "198.51.100.2", "198.51.100.3"])


class Cluster:
    """Servers by address, of which some are away, and their Nodes by name with the looks after which each goes."""

    def __init__(self, away: set[str], nodes: dict[str, int], refuses: str = "") -> None:
        self.away, self.nodes, self.refuses = away, nodes, refuses
        self.asked: list[str] = []
        self.deleted: set[str] = set()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Cluster:
        cluster = self

        class Client:
            def __init__(self, kubeconfig: str) -> None:
                (self.address,) = [address for address in LAST.addresses if f"https://{address}:6443" in kubeconfig]

            def get(self, path: str) -> dict[str, Any] | None:
                cluster.asked.append(f"{self.address} GET {path}")
                if cluster.refuses:
                    raise KubernetesError(cluster.refuses, 503)
                name = path.rpartition("/")[2]
                if name not in cluster.nodes:
                    return None
                if name in cluster.deleted:
                    cluster.nodes[name] -= 1
                    if cluster.nodes[name] < 0:
                        return None
                return {"metadata": {"uid": "1"}}

            def request(self, method: str, path: str) -> dict[str, Any]:
                assert method == "DELETE"
                cluster.asked.append(f"{self.address} {method} {path}")
                cluster.deleted.add(path.rpartition("/")[2])
                return {}

        def why(address: str, _: int) -> str | None:
            return "no answer" if address in cluster.away else None

        monkeypatch.setattr(former_node, "KubernetesClient", Client)
        monkeypatch.setattr(former_node, "why_unreachable", why)
        return self


@pytest.fixture
def clock() -> Mapping[str, Any]:
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    return {"now": lambda: passed[0], "sleep": sleep}


def test_it_is_deleted_by_the_first_server_that_answers(
    monkeypatch: pytest.MonkeyPatch, clock: Mapping[str, Any]
) -> None:
    cluster = Cluster({"198.51.100.1"}, {"de-server-1": 2}).install(monkeypatch)
    assert forget_former_node(LAST, "de-server-1", **clock)
    node = "198.51.100.2 GET /api/v1/nodes/de-server-1"
    assert cluster.asked == [node, node.replace("GET", "DELETE"), node, node, node], "and waited for until it is gone"


def test_where_there_is_none_nothing_is_deleted(monkeypatch: pytest.MonkeyPatch, clock: Mapping[str, Any]) -> None:
    cluster = Cluster(set(), {}).install(monkeypatch)
    assert not forget_former_node(LAST, "de-agent-9", **clock)
    assert cluster.asked == ["198.51.100.1 GET /api/v1/nodes/de-agent-9"]


def test_before_the_first_update_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(set(), {"de-server-1": 0}).install(monkeypatch)
    for outputs in ({}, {"kubeconfig": None}, {"kubeconfig": 3, "api_addresses": 7}):
        assert not forget_former_node(LastUpdate.of("de", outputs), "de-server-1")
    assert cluster.asked == []


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (
            Cluster(set(LAST.addresses), {}),
            "198.51.100.1: no answer; 198.51.100.2: no answer; 198.51.100.3: no answer",
        ),
        (Cluster({"198.51.100.1", "198.51.100.2"}, {}, "etcdserver: no leader"), "198.51.100.3: etcdserver: no leader"),
        (
            Cluster({"198.51.100.2"}, {"de-server-1": 1000}),
            f"198.51.100.1: it is still there after {GONE_SECONDS:.0f} s",
        ),
    ],
)
def test_in_vain(monkeypatch: pytest.MonkeyPatch, clock: Mapping[str, Any], cluster: Cluster, said: str) -> None:
    cluster.install(monkeypatch)
    with pytest.raises(KubernetesError) as raised:
        forget_former_node(LAST, "de-server-1", **clock)
    assert said in str(raised.value)


def test_a_cluster_that_is_away_keeps_no_server_from_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster(set(LAST.addresses), {}).install(monkeypatch)
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    hook: Any = forget_before_create(LAST)
    asyncio.run(hook(pulumi.ResourceHookArgs(urn="u", id="", name="de-server-1", type="t")))
    (text,) = warned
    assert text.endswith("Where there is one, the new server joins once `kubectl delete node de-server-1` has been run")


def test_the_addresses_are_an_output_of_the_stack(tmp_path: Path) -> None:
    found = run_stack(tmp_path, "de", config=changed(DE, {"hetzner.control_plane.count": 3}))
    addresses = found.outputs["api_addresses"].value
    assert len(addresses) == 3
    last = LastUpdate.of("de", {name: value.value for name, value in found.outputs.items()})
    assert list(last.addresses) == addresses
    assert last.kubeconfig == found.outputs["kubeconfig"].value
    assert str(last.kubeconfig) not in repr(last)
