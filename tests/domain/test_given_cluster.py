from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from domain.places.on_premise.given_cluster import (
    FLANNEL,
    NETWORKS,
    GivenCluster,
    given_cluster_problems,
    given_cluster_remarks,
)
from tests.domain.test_preflight import AGENT, SERVER

POD_CIDR = IPv4Network("10.52.0.0/16")


def node(name: str, pod_cidr: str | None = None, **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **({"annotations": annotations} if annotations else {})},
        "spec": {} if pod_cidr is None else {"podCIDR": pod_cidr},
    }


NODES = [node("mn-1", "10.52.0.0/24"), node("mn-2", "10.52.1.0/24"), node("mn-3")]


def told(nodes: list[dict[str, Any]], *sets: str) -> list[str]:
    found = GivenCluster(nodes, [{"metadata": {"name": name}} for name in sets])
    return [str(problem) for problem in given_cluster_problems("mn", found, (SERVER, AGENT), POD_CIDR)]


def test_a_cluster_in_order_passes() -> None:
    assert told(NODES, "cilium", "svclb-traefik") == []
    assert given_cluster_remarks("mn", GivenCluster(NODES, [])) == []


def test_a_machine_that_is_no_node() -> None:
    assert told([node(f"kz-{number}") for number in range(7)]) == [
        f"mn: on_premise.machines.{index}.name {name} has no Node of its name in the cluster; take one of these: kz-0, "
        "kz-1, kz-2, kz-3, kz-4, ...."
        for index, name in enumerate(("mn-1", "mn-2"))
    ]


def test_pods_of_another_range() -> None:
    (sentence,) = told([*NODES, node("mn-4", "10.244.3.0/24"), node("mn-5", "fd00::/64")])
    assert sentence == (
        "mn: network.pod_cidr 10.52.0.0/16 is not where the pods of this cluster are: mn-4 has 10.244.3.0/24; peers "
        "would route to addresses of nobody; write the range that the cluster was made with (--cluster-cidr of k3s, "
        "--pod-network-cidr of kubeadm)."
    )


@pytest.mark.parametrize(("name", "whose"), NETWORKS.items())
def test_another_network_of_pods(name: str, whose: str) -> None:
    (sentence,) = told(NODES, name)
    assert sentence.startswith(
        f"mn: on_premise.kubeconfig leads to a cluster with {whose} as its network of pods, and Cilium can't"
    )


def test_flannel_within_k3s_is_seen_by_its_annotation() -> None:
    (sentence,) = told([*NODES, node("mn-4", None, **{FLANNEL: "vxlan"})])
    assert "with flannel as its network of pods" in sentence
    assert "--flannel-backend=none" in sentence
    # The mark outlasts flannel, so there is a way past it.
    assert sentence.endswith("`kubectl annotate nodes --all flannel.alpha.coreos.com/backend-type-`.")


def test_kube_proxy_is_a_remark() -> None:
    (remark,) = given_cluster_remarks("mn", GivenCluster(NODES, [{"metadata": {"name": "kube-proxy"}}]))
    assert "kubectl -n kube-system delete daemonset kube-proxy" in remark
