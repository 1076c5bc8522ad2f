"""The program in examples/parts, of another project than Isthmus, previewed by the real engine from a checkout."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.engine.project import REPOSITORY, Engine, Project
from tests.engine.world import chart_mirror

pytestmark = pytest.mark.engine

PLANNED = {
    "pulumi:providers:kubernetes office",
    "isthmus:cilium:Cilium network",
    "kubernetes:helm.sh/v3:Release isthmus-network",
    "kubernetes:apps/v1:DaemonSetPatch network-agents",
    "kubernetes:cilium.io/v2:CiliumClusterwideNetworkPolicy network-deny-metadata",
    "isthmus:guard:Guard guard",
    "kubernetes:apps/v1:DaemonSet isthmus-guard",
    "kubernetes:core/v1:Service resolver",
    "isthmus:dns:ClusterDns names",
    "kubernetes:core/v1:ConfigMapPatch names-zones",
    "kubernetes:apps/v1:DeploymentPatch names-coredns",
}


@pytest.fixture
def parts(engine: Engine, tmp_path: Path) -> Project:
    """The example in a checkout of its own, with a stack of it."""
    project = Project(engine, tmp_path / "isthmus")
    checkout = tmp_path / "checkout"
    project.directory = checkout / "examples" / "parts"
    shutil.copytree(REPOSITORY / "examples" / "parts", project.directory)
    for name in ("components", "domain", "keeper"):
        (checkout / name).symlink_to(REPOSITORY / name)
    (checkout / ".venv").symlink_to(sys.prefix)
    project.run("stack", "init", "office").expect(0)
    return project


def test_preview(parts: Project, engine: Engine, tmp_path: Path) -> None:
    with chart_mirror(tmp_path / "charts") as charts:
        config = {
            "parts:kubeconfig": engine.encrypted["isthmus:kubeconfig"],
            "parts:charts": charts,
        }
        parts.write_text("office", yaml.safe_dump({"encryptionsalt": engine.salt, "config": config}))
        plan = parts.preview("office")

    planned = [step["newState"] for step in plan["steps"] if step["newState"]["type"] != "pulumi:pulumi:Stack"]
    assert {f"{resource['type']} {resource['urn'].rpartition('::')[2]}" for resource in planned} == PLANNED
    assert {step["op"] for step in plan["steps"]} == {"create"}
    assert all(resource["urn"].startswith("urn:pulumi:office::parts::") for resource in planned)
    (zones,) = [resource for resource in planned if resource["type"].endswith(":ConfigMapPatch")]
    assert zones["inputs"]["data"] == {"office.example.server": "office.example:53 {\n    forward . 10.53.0.54\n}\n"}
    # The address is an Output of a resource beside it.
    assert [urn.rpartition("::")[2] for urn in zones["propertyDependencies"]["data"]] == ["resolver"]
