"""A worker of de comes, is taken out again while a budget holds one of its pods, leaves, and comes back under its name.

It makes a server at the Hetzner stand-in twice, which takes minutes. To run it alone, with a lab that is up:
``.venv/bin/python -m pytest -v tests/link/test_leaving.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest

from lab.commands import wait_until
from lab.errors import CommandFailed
from lab.kubernetes import Cluster, is_ready
from lab.pulumi_command import Pulumi
from lab.topology import PROBE_IMAGE
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed
from tests.link.changing import at_hetzner, change_settings, stack_files_kept, up
from tests.link.conftest import Verify

pytestmark = [pytest.mark.link, pytest.mark.thorough]

WORKER: Final = "de-agent-2"
WORKERS: Final = "hetzner.workers.count"
LABELS: Final = {"app": "leaving"}
BUDGET: Final = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "leaving", "namespace": "default"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}},
}
DEPLOYMENT: Final = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "leaving", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                # It wants the worker, and takes another node where there is none.
                "affinity": {
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 100,
                                "preference": {
                                    "matchExpressions": [
                                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [WORKER]}
                                    ]
                                },
                            }
                        ]
                    }
                },
                "terminationGracePeriodSeconds": 2,
                "containers": [{"name": "c", "image": PROBE_IMAGE, "imagePullPolicy": "IfNotPresent"}],
                "volumes": [{"name": "cache", "emptyDir": {}}],
            },
        },
    },
}


def servers() -> list[str]:
    return sorted(server["name"] for server in at_hetzner("servers"))


def nodes(de: Cluster) -> dict[str, dict[str, Any]]:
    return {node["metadata"]["name"]: node for node in de.get("nodes")}


def takes_pods(de: Cluster) -> bool:
    """Whether the worker is ready, and Cilium has taken its taint away."""
    worker = nodes(de).get(WORKER)
    return worker is not None and is_ready(worker) and not worker["spec"].get("taints")


def place(de: Cluster) -> str | None:
    """The node where the pod is ready."""
    pods = [pod for pod in de.get("pods", namespace="default", selector="app=leaving") if is_ready(pod)]
    return next((pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"]), None)


def ready_at(de: Cluster, wanted: Callable[[str], bool], what: str) -> None:
    wait_until(lambda: wanted(place(de) or ""), what=what, deadline_seconds=180.0)


@contextmanager
def objects(de: Cluster) -> Iterator[None]:
    """Without them afterwards, so that nothing holds a node."""
    try:
        yield
    finally:
        de.kubectl("delete", "pdb,deployment", "--ignore-not-found", "leaving", "--namespace=default")


def test_a_worker_leaves_and_comes_back_under_its_name(
    pulumi: Pulumi, clusters: Mapping[str, Cluster], run_verify: Verify
) -> None:
    de = clusters["de"]
    before = servers()
    assert WORKER not in before
    others = {name: node["metadata"]["uid"] for name, node in nodes(de).items()}
    try:
        with stack_files_kept(["de"]), objects(de):
            change_settings("de", {WORKERS: 2, "k3s.drain_seconds": 60})
            up(pulumi, ["de"])
            # An `up` waits for no worker, and what is scheduled before it is ready stays elsewhere.
            wait_until(lambda: takes_pods(de), what=f"{WORKER} takes pods", deadline_seconds=180.0)
            de.apply([DEPLOYMENT, BUDGET])
            ready_at(de, lambda node: node == WORKER, "the pod is ready on the worker")
            first = nodes(de)[WORKER]["metadata"]["uid"]

            change_settings("de", {WORKERS: 1})
            with pytest.raises(CommandFailed) as failed:
                up(pulumi, ["de"])
            said = " ".join(str(failed.value).split())
            assert f"de: node {WORKER} does not leave: after 60 s these of its pods are still there" in said
            assert "default/leaving-" in said
            assert "The disruption budget leaving needs 1 healthy pods and has 1 currently" in said
            assert not nodes(de)[WORKER]["spec"].get("unschedulable")
            assert place(de) == WORKER
            assert WORKER in servers()

            # A budget that can be kept: another node takes a pod first.
            de.kubectl("scale", "deployment/leaving", "--replicas=2", "--namespace=default")
            patch = json.dumps({"spec": {"template": {"spec": {"topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                 "labelSelector": {"matchLabels": LABELS}}
            ]}}}})  # fmt: skip
            de.kubectl("patch", "deployment/leaving", "--namespace=default", "--patch", patch)
            de.kubectl("rollout", "status", "deployment/leaving", "--namespace=default", deadline_seconds=180.0)
            up(pulumi, ["de"])
            assert servers() == before
            assert {name: node["metadata"]["uid"] for name, node in nodes(de).items()} == others
            ready_at(de, lambda node: node in others, "the pod is ready elsewhere")
            all_passed(run_verify(*ALL_BUT_THROUGHPUT))

            change_settings("de", {WORKERS: 2})
            up(pulumi, ["de"])
            wait_until(lambda: takes_pods(de), what=f"{WORKER} takes pods again", deadline_seconds=180.0)
            assert nodes(de)[WORKER]["metadata"]["uid"] != first
    finally:
        up(pulumi, ["de"])
    assert servers() == before
    assert {name: node["metadata"]["uid"] for name, node in nodes(de).items()} == others
