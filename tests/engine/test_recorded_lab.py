"""Two linked stacks that earlier programs had raised, de at Hetzner and mn on machines over SSH, previewed by this one:
what has another name or another parent now is the same resource, and nothing is replaced, deleted or made anew. A lab
had raised them with 569af63, the tests' own machines with 48c7c4d, which had a wait as a Job.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.domain.samples import SECRET
from tests.engine.project import KUBECONFIG, Engine, Project, steps
from tests.engine.test_recorded_state import KEEPER, NEW, SERVICES, bring
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

NODES = {"de": ("de-server-1", "de-agent-1"), "mn": ("mn-1", "mn-2")}

COMPONENT = "isthmus:joined_cluster:JoinedCluster"


def killed_half_way(stack: str, resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The state as a first `up` leaves it that was killed: every second component is below the new one. Their children
    have the new type, by the engine, and the name of before.
    """
    first = next(index for index, resource in enumerate(resources) if resource["type"] == "pulumi:pulumi:Stack")
    top = resources[first]
    component = f"urn:pulumi:{stack}::isthmus::{COMPONENT}::{stack}"
    moved = [
        resource
        for resource in resources
        if resource.get("parent") == top["urn"] and resource["type"].startswith("isthmus:")
    ][::2]
    assert len(moved) > 3
    whole = {"urn": component, "type": COMPONENT, "custom": False, "parent": top["urn"]}
    for resource in moved:
        resource["parent"] = component
    text = json.dumps([*resources[: first + 1], whole, *resources[first + 1 :]])
    for kind in {resource["type"] for resource in moved}:
        text = text.replace(f"::isthmus::{kind}", f"::isthmus::{COMPONENT}${kind}")
    found: list[dict[str, Any]] = json.loads(text)
    assert len([resource for resource in found if f"{COMPONENT}$" in resource["urn"]]) > 2 * len(moved)
    return found


SETTINGS = {("create", f"NodeSettings machines-{role}-settings") for role in ("server", "agent")}
"""Those of k3s, at Hetzner."""


def previewed(
    project: Project,
    engine: Engine,
    hetzner: StandIn,
    directory: Path,
    commit: str,
    stack: str,
    *,
    killed: bool = False,
) -> list[tuple[str, str]]:
    """What a preview of the stack would do where the program of the commit had raised both."""
    with chart_mirror(directory / "charts") as charts:
        for name in ("de", "mn"):
            config = data.raised_config(commit, name, charts=charts, hetzner=hetzner.endpoint)
            project.write(name, {**config, **dict.fromkeys(OF_STACK[name], SECRET)})
            resources = data.state(
                commit, kubeconfig=KUBECONFIG, charts=charts, hetzner=hetzner.endpoint, file=f"state-{name}.json"
            )
            assert len(resources) >= 40
            if killed:
                resources = killed_half_way(name, resources)
            bring(project, engine, name, resources, directory / f"{name}.json")
        return [(step.op, f"{step.type.rpartition(':')[2]} {step.name}") for step in steps(project.preview(stack))]


@pytest.mark.parametrize(("stack", "killed"), [("de", False), ("mn", False), ("mn", True)])
def test_it_is_updated_in_place(
    project: Project, engine: Engine, hetzner: StandIn, tmp_path: Path, stack: str, killed: bool
) -> None:
    found = previewed(project, engine, hetzner, tmp_path, data.OF_A_LAB, stack, killed=killed)
    assert len(found) > 30
    # What programs before did not have: the one that all others are below, each node's membership and generation, and
    # at Hetzner the settings of k3s.
    made = set() if killed else {("create", f"JoinedCluster {stack}")}
    made |= {("create", f"NodeMember machines-{node}-member") for node in NODES[stack]}
    made |= {("create", f"NodeGeneration machines-{node}-generation") for node in NODES[stack]}
    made |= SETTINGS if stack == "de" else set()
    assert {step for step in found if step[0] not in ("same", "update", "read")} == made
    assert {step for _, step in found} >= RENAMED["both"] | RENAMED[stack]


@pytest.mark.parametrize("stack", ["de", pytest.param("mn", marks=pytest.mark.thorough)])
def test_what_the_first_program_raised_is_updated_in_place(
    project: Project, engine: Engine, hetzner: StandIn, tmp_path: Path, stack: str
) -> None:
    found = previewed(project, engine, hetzner, tmp_path, data.FIRST_RAISED, stack)
    assert {step for _, step in found} >= RENAMED["both"] | RENAMED[stack]
    peer = {"de": "mn", "mn": "de"}[stack]
    made = {
        (op, step.replace("isthmus-mn", f"isthmus-{stack}").replace("JoinedCluster mn", f"JoinedCluster {stack}"))
        for op, step in NEW | SERVICES | KEEPER
    }
    made |= {("create", f"NodeMember machines-{node}-member") for node in NODES[stack]}
    made |= {("create", f"NodeGeneration machines-{node}-generation") for node in NODES[stack]}
    made |= SETTINGS if stack == "de" else {("create", f"Command machines-{node}-uninstall") for node in NODES[stack]}
    assert {step for step in found if step[0] not in ("same", "update", "read")} == made | {
        ("delete", f"Job isthmus-wait-{peer}")
    }
