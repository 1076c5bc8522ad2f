"""The kubeconfig with a context for each cluster, and readiness."""

from __future__ import annotations

from typing import Any

import pytest

from lab.kubernetes import internal_ip, is_ready, merged


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
    assert [one["cluster"]["server"] for one in result["clusters"]] == ["https://a1", "https://b2"]
    assert [one["user"]["token"] for one in result["users"]] == ["1", "2"]
    assert result["contexts"] == [
        {"name": "de", "context": {"cluster": "de", "user": "de"}},
        {"name": "mn", "context": {"cluster": "mn", "user": "mn"}},
    ]
    assert result["current-context"] == "de"


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
