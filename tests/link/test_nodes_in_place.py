"""Nodes of both clusters take other settings of k3s, one after the other, and a machine of mn's is made a node anew by
its number, with the real provider over SSH, and etcd, API server, kubelet and containerd real: nobody else is touched,
and the link is as before.

It takes minutes. To run it alone, with a lab that is up: ``.venv/bin/python -m pytest -v
tests/link/test_nodes_in_place.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from lab.commands import wait_until
from lab.kubernetes import Cluster, is_ready
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.topology import DEFAULT
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed, in_health
from tests.link.changing import change_settings, config_of, previewed, stack_files_kept, up
from tests.link.conftest import Verify

pytestmark = [pytest.mark.link, pytest.mark.thorough, pytest.mark.timeout(1500)]

PODS: Final = "117"
FEWER: Final = {"kubelet-arg": [f"max-pods={PODS}"]}
OPERATOR: Final = "netbird-operator"
AGAIN: Final = "mn-2"
"""It carries the link, the only one of mn's."""


def nodes(cluster: Cluster) -> dict[str, dict[str, Any]]:
    return {node["metadata"]["name"]: node for node in cluster.get("nodes")}


def uids(cluster: Cluster) -> dict[str, str]:
    return {name: node["metadata"]["uid"] for name, node in nodes(cluster).items()}


def capacity(cluster: Cluster) -> set[str]:
    """How many pods its nodes take."""
    return {node["status"]["capacity"]["pods"] for node in nodes(cluster).values()}


def closed(cluster: Cluster) -> list[str]:
    return [name for name, node in nodes(cluster).items() if node["spec"].get("unschedulable")]


def containers(cluster: Cluster) -> dict[str, str]:
    """When each container of every pod was started, but for NetBird's operator, which ends where the API server is away
    and begins anew.
    """
    found = {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']} {status['name']}": status["state"]["running"][
            "startedAt"
        ]
        for pod in cluster.get("pods", namespace="*")
        for status in pod["status"].get("containerStatuses", ())
        if "running" in status["state"] and status["name"] != OPERATOR
    }
    assert found
    return found


def test_settings_of_k3s_reach_both_clusters_and_every_pod_runs_on(
    pulumi: Pulumi, clusters: Mapping[str, Cluster], run_verify: Verify
) -> None:
    before = {name: uids(cluster) for name, cluster in clusters.items()}
    usual = {name: capacity(cluster) for name, cluster in clusters.items()}
    assert all(PODS not in found for found in usual.values())
    ran = {name: containers(cluster) for name, cluster in clusters.items()}
    try:
        with stack_files_kept(clusters):
            for stack in clusters:
                change_settings(stack, {"k3s.server_config": FEWER, "k3s.agent_config": FEWER})
            up(pulumi, clusters)
            for name, cluster in clusters.items():
                assert (name, capacity(cluster), closed(cluster)) == (name, {PODS}, [])
                assert (uids(cluster), previewed(pulumi, name)) == (before[name], {})
                assert ran[name].items() <= containers(cluster).items(), name
            all_passed(run_verify(*ALL_BUT_THROUGHPUT))
    finally:
        up(pulumi, clusters)
    assert {name: capacity(cluster) for name, cluster in clusters.items()} == usual
    assert {name: uids(cluster) for name, cluster in clusters.items()} == before


def test_a_machine_of_ones_own_is_made_a_node_anew(
    pulumi: Pulumi, clusters: Mapping[str, Cluster], tools: Tools, run_verify: Verify
) -> None:
    """Its number stays in the file: it only goes up."""
    mn, before = clusters["mn"], uids(clusters["mn"])
    machines = config_of("mn")["isthmus:on_premise"]["machines"]
    raised = [
        {**machine, "generation": machine.get("generation", 1) + (machine["name"] == AGAIN)} for machine in machines
    ]
    assert raised != machines
    change_settings("mn", {"on_premise.machines": raised})

    up(pulumi, ["mn"])
    # Its router has another identity and address, of which the peer hears by its own `up`.
    up(pulumi, ["de"])

    wait_until(lambda: is_ready(nodes(mn)[AGAIN]), what=f"{AGAIN} is ready", deadline_seconds=180.0)
    assert {name for name, uid in uids(mn).items() if uid != before[name]} == {AGAIN}
    assert closed(mn) == []
    in_health(DEFAULT, tools, within_seconds=150.0)
    all_passed(run_verify(*ALL_BUT_THROUGHPUT))
    assert {stack: previewed(pulumi, stack) for stack in clusters} == {"de": {}, "mn": {}}
