"""A cluster that somebody else runs: labels on its Nodes and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address

import pulumi

from components.existing_cluster import NodeLabels, NodeLabelsArgs, existing_cluster
from domain.nodes import Node
from tests.components.recording import GIVEN_KUBECONFIG, run, shared_run
from tests.domain.samples import GIVEN


class TestExisting:
    def test_only_labels_on_the_router(self) -> None:
        found = shared_run("mn", GIVEN)
        patch = found.one(":NodePatch")
        assert patch.inputs["metadata"] == {
            "name": "worker-b",
            "labels": {"isthmus.dev/router": "true"},
            "annotations": {"pulumi.com/patchForce": "true", "pulumi.com/patchFieldManager": "isthmus"},
        }
        assert found.of("command:") == []
        provider = found.one("pulumi:providers:kubernetes")
        assert provider.inputs["context"] == "mn"
        assert provider.inputs["kubeconfig"] == GIVEN_KUBECONFIG
        assert "kubeconfig" in provider.secret_inputs
        assert "node-labels-worker-b" in found.one("Release", "isthmus-cilium").depends_on


def test_a_node_that_is_no_router_gets_no_label() -> None:
    def node(name: str, *, router: bool) -> Node:
        return Node(name=name, role="agent", address=IPv4Address("192.168.7.12"), router=router)

    async def body() -> None:
        labels = NodeLabels("labels", NodeLabelsArgs([node("a", router=False), node("b", router=True)]))
        assert len(labels.ready) == 1

    found = run(body, stack="mn", config={}, preview=False)
    assert [patch.name for patch in found.of(":NodePatch")] == ["labels-b"]


def test_its_kubeconfig_is_secret_and_nothing_is_waited_for() -> None:
    async def body() -> dict[str, pulumi.Output[str]]:
        cluster = existing_cluster("plain", "office")
        assert (cluster.context, cluster.ready, cluster.machines, cluster.addresses) == ("office", [], None, ())
        return {"kubeconfig": cluster.kubeconfig}

    output = run(body, stack="mn", config={}, preview=False).outputs["kubeconfig"]
    assert (output.value, output.secret) == ("plain", True)
