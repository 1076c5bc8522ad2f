"""A change that the running cluster can't follow is refused in the preview, by the outputs in the stack's state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domain.changes import raised_with
from domain.places.outputs import RAISED_WITH
from tests.domain.samples import DE, MN, changed, settings_of
from tests.engine.project import Project

pytestmark = pytest.mark.engine


def raised(project: Project, stack: str, outputs: dict[str, Any], directory: Path) -> None:
    """Gives the stack the state of one that was raised with these outputs."""
    urn = f"urn:pulumi:{stack}::isthmus::pulumi:pulumi:Stack::isthmus-{stack}"
    resource = {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": outputs}
    state = {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z"}, "resources": [resource]}}
    file = directory / "state.json"
    file.write_text(json.dumps(state), encoding="utf-8")
    project.init(stack)
    project.run("stack", "import", "-s", stack, "--file", str(file)).expect(0)


def test_pod_cidr_of_a_running_cluster(project: Project, tmp_path: Path) -> None:
    project.write("de", DE)
    project.write("mn", MN)
    raised(project, "mn", {RAISED_WITH: raised_with(settings_of("mn", MN))}, tmp_path)
    before = project.state_text("mn")
    project.preview("mn")

    project.write("mn", changed(MN, {"network.pod_cidr": "10.60.0.0/16"}))
    for command in (("preview",), ("up", "--yes")):
        refused = project.run(*command, "-s", "mn")
        assert refused.code != 0
        assert (
            "mn: network.pod_cidr 10.60.0.0/16 is not 10.52.0.0/16, with which the cluster runs; every node holds a "
            "part of it, and the peers route it; write 10.52.0.0/16 again, or raise the cluster anew"
        ) in " ".join(refused.output.split())
        assert "Traceback" not in refused.output
    assert (
        project.resources("mn")[0]["outputs"] == json.loads(before)["checkpoint"]["latest"]["resources"][0]["outputs"]
    )
