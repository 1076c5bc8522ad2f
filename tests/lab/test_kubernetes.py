"""The kubeconfig with a context for each cluster, and readiness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import kubernetes, project, state
from lab.kubernetes import Cluster, internal_ip, is_ready, merged, servers
from lab.project import Tools


def kubeconfig(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default", "cluster": {"server": server}}],
        "users": [{"name": "admin", "user": {"token": server[-1]}}],
        "contexts": [
            {"name": "other", "context": {"cluster": "none", "user": "none"}},
            {"name": "default", "context": {"cluster": "default", "user": "admin", "namespace": "x"}},
        ],
        "current-context": "default",
    }


def test_equal_names_in_two_kubeconfigs_do_not_meet() -> None:
    result = merged({"de": kubeconfig("https://a1"), "mn": kubeconfig("https://b2")})
    assert [cluster["cluster"]["server"] for cluster in result["clusters"]] == ["https://a1", "https://b2"]
    assert [user["user"]["token"] for user in result["users"]] == ["1", "2"]
    assert result["contexts"] == [
        {"name": "de", "context": {"cluster": "de", "user": "de"}},
        {"name": "mn", "context": {"cluster": "mn", "user": "mn"}},
    ]
    assert result["current-context"] == "de"


def test_each_of_several_servers_has_a_context_and_a_single_one_none() -> None:
    result = merged(
        {"de": kubeconfig("https://198.51.100.101:6443"), "mn": kubeconfig("https://192.168.7.11:6443")},
        {"de": ["198.51.100.101", "198.51.100.102"], "mn": ["192.168.7.11"]},
    )
    assert [context["name"] for context in result["contexts"]] == ["de", "de@198.51.100.101", "de@198.51.100.102", "mn"]
    assert result["contexts"][2]["context"] == {"cluster": "de@198.51.100.102", "user": "de"}
    assert result["current-context"] == "de"
    assert servers(result, "de") == {
        "de": ("198.51.100.101", 6443),
        "de@198.51.100.101": ("198.51.100.101", 6443),
        "de@198.51.100.102": ("198.51.100.102", 6443),
    }
    assert servers(result, "mn") == {"mn": ("192.168.7.11", 6443)}


def test_all_else_of_a_servers_context_is_the_clusters() -> None:
    """The name in its certificate above all, which is none of its addresses."""
    whole = kubeconfig("https://198.51.100.101:6443")
    whole["clusters"][0]["cluster"] |= {"tls-server-name": "kubernetes.default.svc", "certificate-authority-data": "x"}
    found = {
        cluster["name"]: cluster["cluster"]
        for cluster in merged({"de": whole}, {"de": ["198.51.100.101", "b"]})["clusters"]
    }
    assert found["de@b"] == {**found["de"], "server": "https://b:6443"}


class TestTheServerThatLives:
    ADDRESSES = ("198.51.100.101", "198.51.100.102", "198.51.100.103")

    @pytest.fixture
    def asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Who was asked for a connection; what is in :attr:`away` gives none."""
        monkeypatch.setattr(state, "STATE", tmp_path)
        asked: list[str] = []
        self.away: set[str] = set()

        def answers(host: str, port: int) -> bool:
            assert port == 6443
            asked.append(host)
            return host not in self.away

        monkeypatch.setattr(kubernetes, "_answers", answers)
        return asked

    def write(self, *addresses: str) -> Cluster:
        text = yaml.safe_dump(merged({"de": kubeconfig(f"https://{addresses[0]}:6443")}, {"de": addresses}))
        project.kubeconfig_file().write_text(text)
        return Cluster(name="de", tools=Tools(pulumi_bin=Path("/p"), kubectl=Path("/k/kubectl")))

    def test_is_the_clusters_own_while_it_answers(self, asked: list[str]) -> None:
        assert self.write(*self.ADDRESSES).context == "de"
        assert asked == [self.ADDRESSES[0]]

    def test_is_the_next_one_that_answers(self, asked: list[str]) -> None:
        cluster = self.write(*self.ADDRESSES)
        self.away = set(self.ADDRESSES[:2])
        assert cluster.command("get", "nodes")[-3:] == ["--context=de@198.51.100.103", "get", "nodes"]

    def test_is_the_clusters_own_where_none_answers(self, asked: list[str]) -> None:
        cluster = self.write(*self.ADDRESSES)
        self.away = set(self.ADDRESSES)
        assert cluster.context == "de"
        assert set(asked) == self.away

    def test_each_one_is_asked_once_for_the_status(self, asked: list[str]) -> None:
        cluster = self.write(*self.ADDRESSES)
        self.away = {self.ADDRESSES[1]}
        assert cluster.answering() == dict(zip(self.ADDRESSES, [True, False, True], strict=True))
        assert sorted(asked) == sorted(self.ADDRESSES)

    def test_is_not_looked_for_where_there_is_one(self, asked: list[str]) -> None:
        cluster = self.write(self.ADDRESSES[0])
        assert (cluster.context, cluster.answering()) == ("de", {})
        project.kubeconfig_file().unlink()
        assert Cluster(name="de", tools=Tools(pulumi_bin=Path("/p"), kubectl=Path("/k"))).context == "de"
        assert asked == []


def test_no_cluster_gives_an_empty_kubeconfig() -> None:
    assert merged({})["contexts"] == []


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([{"type": "Ready", "status": "True"}], True),
        ([{"type": "Ready", "status": "Unknown"}], False),
        ([{"type": "PodScheduled", "status": "True"}], False),
        ([], False),
    ],
)
def test_ready_is_the_condition_ready_and_true(conditions: list[dict[str, str]], ready: bool) -> None:
    assert is_ready({"status": {"conditions": conditions}}) is ready


def test_the_internal_address_of_a_node() -> None:
    addresses = [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "10.0.1.11"}]
    assert internal_ip({"status": {"addresses": addresses}}) == "10.0.1.11"
    assert internal_ip({}) == ""
