"""A cluster that somebody else runs is looked at before the first resource is made in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.domain.samples import DE, GIVEN
from tests.engine.kube_api import KubeApi
from tests.engine.project import Project

pytestmark = pytest.mark.engine


def test_a_cluster_that_does_not_fit_is_refused_by_preview_and_up(project: Project, tmp_path: Path) -> None:
    api = KubeApi(tmp_path / "kubernetes", services="10.53.0.0/16")
    try:
        api.wait()
        node = {"metadata": {"name": "worker-b"}, "spec": {"podCIDR": "10.244.1.0/24"}}
        api.post("/api/v1/nodes", node)
        template = {
            "metadata": {"labels": {"app": "flannel"}},
            "spec": {"containers": [{"name": "one", "image": "registry.example.net/flannel:1"}]},
        }
        spec = {"selector": {"matchLabels": {"app": "flannel"}}, "template": template}
        flannel = {"metadata": {"name": "kube-flannel-ds"}, "spec": spec}
        api.post("/apis/apps/v1/namespaces/kube-system/daemonsets", flannel)
        project.write("de", DE)
        project.write("mn", GIVEN)
        project.init("mn")
        project.run("config", "set", "--secret", "kubeconfig", "-s", "mn", "--", api.kubeconfig).expect(0)
        for command in (("preview",), ("up", "--yes", "--skip-preview")):
            refused = project.run(*command, "-s", "mn").expect(1)
            refused.says("2 problems with the cluster; nothing was changed:")
            refused.says(
                "network.pod_cidr 10.52.0.0/16 is not where the pods of this cluster are: worker-b has 10.244."
            )
            refused.says("leads to a cluster with flannel as its network of pods, and Cilium can't stand beside it")
        # The stack itself, and the engine's provider of its reference to de.
        assert {resource["type"].partition(":")[0] for resource in project.resources("mn")} == {"pulumi"}
    finally:
        api.stop()
