"""Two linked stacks that a lab had raised with 569af63, de at Hetzner and mn on machines over SSH, previewed by this
program: what has another name now is the same resource, and nothing is replaced, deleted or made anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.domain.samples import SECRET
from tests.engine.project import KUBECONFIG, Engine, Project, steps
from tests.engine.test_recorded_state import bring
from tests.engine.world import chart_mirror
from tests.lab.hetzner_api.conftest import StandIn
from tests.recorded import data

pytestmark = pytest.mark.engine

COMMON = ("isthmus:clusterSecret", "isthmus:netbirdApiToken")
OF_STACK = {"de": (*COMMON, "hcloud:token"), "mn": (*COMMON, "isthmus:sshPrivateKey")}
"""Their secrets."""
RENAMED = {
    "both": {
        "CiliumClusterwideNetworkPolicy cilium-deny-metadata", "ConfigMapPatch dns-zones",
        "Command machines-kubeconfig",
        "DeploymentPatch dns-coredns", "Namespace netbird-operator-namespace", "Secret netbird-operator-api-key",
    },
    "de": set(),
    "mn": {"Command machines-mn-1", "Command machines-mn-1-uninstall", "Command machines-mn-2"},
}  # fmt: skip
"""Some of what was called otherwise and is updated, with the secrets and addresses of the tests."""


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_it_is_updated_in_place(project: Project, engine: Engine, hetzner: StandIn, tmp_path: Path, stack: str) -> None:
    with chart_mirror(tmp_path / "charts") as charts:
        for name in ("de", "mn"):
            config = data.lab_config(name, charts=charts, hetzner=hetzner.endpoint)
            project.write(name, {**config, **dict.fromkeys(OF_STACK[name], SECRET)})
            resources = data.state(
                data.OF_A_LAB, kubeconfig=KUBECONFIG, charts=charts, hetzner=hetzner.endpoint, file=f"state-{name}.json"
            )
            assert len(resources) > 60
            bring(project, engine, name, resources, tmp_path / f"{name}.json")
        found = [(step.op, f"{step.type.rpartition(':')[2]} {step.name}") for step in steps(project.preview(stack))]

    assert len(found) > 30
    assert [step for step in found if step[0] not in ("same", "update", "read")] == []
    assert {step for _, step in found} >= RENAMED["both"] | RENAMED[stack]
