"""States that earlier programs left, previewed by this one: nothing is replaced, and only a wait is deleted. Only what
those did not have is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.domain.samples import SECRET, changed
from tests.engine.project import KUBECONFIG, Engine, Project, steps
from tests.engine.world import chart_mirror
from tests.recorded import data

pytestmark = pytest.mark.engine

NEW = {
    ("create", "StackInstance router-instance"),
    ("create", "NetbirdClaim isthmus-mn-claim"),
    ("create", "NetbirdSetupKey isthmus-mn-router-setup-key"),
    ("create", "Guard guard"),
    ("create", "DaemonSet isthmus-guard"),
}
"""What 48c7c4d did not have, and 0e658f3 had."""
SERVICES = {
    ("create", "NetbirdGroup isthmus-mn-services"),
    ("create", "NetbirdNetworkResource isthmus-mn-services-resource"),
}
"""What neither had."""
KEEPER = {
    ("create", "JoinedCluster mn"),
    ("create", "Keeper keeper"),
    ("create", "KeeperKey isthmus-keeper-key"),
    ("create", "ConfigMap isthmus-keeper"),
    ("create", "ConfigMap isthmus-keeper-program"),
    ("create", "Secret isthmus-keeper-key"),
    ("create", "ServiceAccount isthmus-keeper-serviceaccount"),
    ("create", "ClusterRole isthmus-keeper-clusterrole"),
    ("create", "ClusterRoleBinding isthmus-keeper-clusterrolebinding"),
    ("create", "Role isthmus-keeper-role"),
    ("create", "RoleBinding isthmus-keeper-rolebinding"),
    ("create", "DaemonSet isthmus-keeper"),
}
"""What programs before the keeper did not have: all else lay at the top of the stack."""
GONE = {("delete", "Job isthmus-wait-de")}
"""What no program has any more."""


def bring(project: Project, engine: Engine, stack: str, resources: list[dict[str, Any]], file: Path) -> None:
    project.init(stack)
    secrets = {"type": "passphrase", "state": {"salt": engine.salt}}
    deployment = {"manifest": {}, "secrets_providers": secrets, "resources": resources}
    text = json.dumps({"version": 3, "deployment": deployment})
    file.write_text(text, encoding="utf-8")
    project.run("stack", "import", "-s", stack, "--file", str(file)).expect(0)


def peer() -> dict[str, Any]:
    """The stack of de with the link that it published."""
    return {
        "urn": "urn:pulumi:de::isthmus::pulumi:pulumi:Stack::isthmus-de",
        "type": "pulumi:pulumi:Stack",
        "custom": False,
        "outputs": {"link": data.outputs("de")["link"]},
    }


@dataclass
class Recorded:
    """A project with the settings of the recorded states, in a cluster that can't be reached. ``charts`` is a mirror
    that has the charts.
    """

    project: Project
    engine: Engine
    directory: Path
    charts: str

    def state(self, commit: str) -> list[dict[str, Any]]:
        """The resources of mn as the program of that commit left them."""
        return data.state(commit, kubeconfig=KUBECONFIG, charts=self.charts)

    def previewed(self, resources: list[dict[str, Any]]) -> set[tuple[str, str]]:
        """What a preview would do, as operation and resource."""
        bring(self.project, self.engine, "mn", resources, self.directory / "mn.json")
        return {
            (step.op, f"{step.type.rpartition(':')[2]} {step.name}")
            for step in steps(self.project.preview("mn"))
            if step.op not in ("same", "read")
        }


@pytest.fixture
def recorded(project: Project, engine: Engine, tmp_path: Path) -> Iterator[Recorded]:
    """The project, and the link of its peer."""
    secrets = dict.fromkeys(("isthmus:netbirdApiToken", "isthmus:kubeconfig"), SECRET)
    config = {**data.stack_config("mn-existing-cluster"), **secrets}
    project.write("de", {**data.stack_config("de"), "isthmus:clusterSecret": SECRET, "isthmus:netbirdApiToken": SECRET})
    bring(project, engine, "de", [peer()], tmp_path / "de.json")
    with chart_mirror(tmp_path / "charts") as charts:
        project.write("mn", changed(config, {"mirrors.charts": charts}))
        yield Recorded(project, engine, tmp_path, charts)


def test_it_is_updated_in_place(recorded: Recorded) -> None:
    found = recorded.previewed(recorded.state(data.FIRST))
    assert {op for op, _ in found} == {"create", "update", "delete"}
    assert {step for step in found if step[0] != "update"} == NEW | SERVICES | KEEPER | GONE


def test_of_the_program_with_a_guard_everything_is_there(recorded: Recorded) -> None:
    resources = recorded.state(data.WITH_A_GUARD)
    assert len(resources) > 40
    assert {step for step in recorded.previewed(resources) if step[0] != "update"} == SERVICES | KEEPER


def test_a_resource_in_a_network_that_the_operator_made_twice_moves(recorded: Recorded) -> None:
    """As it happened: the resource lies in the second network, which has no routers."""
    resources = recorded.state(data.FIRST)
    (resource,) = [candidate for candidate in resources if candidate["urn"].endswith("::isthmus-mn-pods-resource")]
    resource["id"] = f"second/{resource['id'].partition('/')[2]}"
    found = recorded.previewed(resources)
    assert ("update", "NetbirdNetworkResource isthmus-mn-pods-resource") in found
    assert {step for step in found if step[0] != "update"} == NEW | SERVICES | KEEPER | GONE
