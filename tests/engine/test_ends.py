"""`destroy` of what is gone already, by ways that are printed or documented.

There is no cluster in these tests: its part of the state is written by hand, with an API server where nobody listens.
The engine, the providers and Hetzner's side are those of all other tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.domain.samples import MN, changed
from tests.engine.conftest import StartHetzner, is_empty
from tests.engine.project import KUBECONFIG, Project
from tests.engine.test_hetzner import COMPONENTS, finish, prepare
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = pytest.mark.engine

DESTROY: Final = ("destroy", "-s", "de", "--yes", "--skip-preview")
GONE: Final = {"PULUMI_K8S_DELETE_UNREACHABLE": "true"}
MACHINES: Final = f"urn:pulumi:de::isthmus::{COMPONENTS}::machines"


@pytest.fixture
def raised(project: Project, hetzner: StandIn, de: dict[str, Any]) -> Project:
    """A project whose machines are there."""
    prepare(project, de)
    finish(project, hetzner)
    return project


def add_cluster(project: Project, directory: Path, *, goes_with_machines: bool) -> None:
    """Puts a release and an object of NetBird's into the state, in a cluster that can't be reached."""
    file = directory / "state.json"
    project.run("stack", "export", "-s", "de", "--file", str(file)).expect(0)
    state = json.loads(file.read_text(encoding="utf-8"))
    resources = state["deployment"]["resources"]
    stack = next(resource["urn"] for resource in resources if resource["type"] == "pulumi:pulumi:Stack")

    def add(type_: str, name: str, **more: Any) -> str:
        qualified = f"{more['parent'].split('::')[2]}${type_}" if more["parent"] != stack else type_
        urn = f"urn:pulumi:de::isthmus::{qualified}::{name}"
        resources.append({"urn": urn, "type": type_, "custom": "id" in more, **more})
        return urn

    settings = {"kubeconfig": KUBECONFIG, "context": "mn"}
    provider = add(
        "pulumi:providers:kubernetes", "de", parent=stack, id="b1f7", inputs=settings, outputs=settings,
        dependencies=[MACHINES],
    )  # fmt: skip
    with_machines = {"deletedWith": MACHINES} if goes_with_machines else {}
    component = add("isthmus:cilium:Cilium", "cilium", parent=stack, **with_machines)
    release = {"name": "isthmus-cilium", "namespace": "kube-system", "chart": "cilium", "version": "1.19.6"}
    add(
        "kubernetes:helm.sh/v3:Release", "isthmus-cilium", parent=component, id="kube-system/isthmus-cilium",
        inputs=release, outputs={**release, "status": {"name": "isthmus-cilium", "namespace": "kube-system"}},
        provider=f"{provider}::b1f7", **with_machines,
    )  # fmt: skip
    group = {"apiVersion": "netbird.io/v1alpha1", "kind": "SetupKey", "metadata": {"name": "k", "namespace": "netbird"}}
    add(
        "kubernetes:netbird.io/v1alpha1:SetupKey", "k", parent=stack, id="netbird/k", inputs=group, outputs=group,
        provider=f"{provider}::b1f7",
    )  # fmt: skip
    file.write_text(json.dumps(state), encoding="utf-8")
    project.run("stack", "import", "-s", "de", "--file", str(file)).expect(0)


def test_the_cluster_is_gone(raised: Project, hetzner: StandIn, tmp_path: Path) -> None:
    add_cluster(raised, tmp_path, goes_with_machines=True)

    refused = raised.run(*DESTROY).expect(1)
    refused.says("PULUMI_K8S_DELETE_UNREACHABLE")

    raised.run(*DESTROY, environment=GONE).expect(0)
    assert is_empty(hetzner)
    assert raised.resources("de") == []
    raised.run(*DESTROY, environment=GONE).expect(0)


def test_the_cluster_and_its_servers_are_gone(raised: Project, hetzner: StandIn, tmp_path: Path) -> None:
    add_cluster(raised, tmp_path, goes_with_machines=True)
    for server in hetzner.client.servers.get_all():
        server.delete().wait_until_finished()

    raised.run(*DESTROY, environment=GONE).expect(1).says("not found (not_found")
    raised.run("refresh", "-s", "de", "--yes", "--skip-preview", "--target=**hcloud:index/**").expect(0)
    raised.run(*DESTROY, environment=GONE).expect(0)
    assert is_empty(hetzner)
    assert raised.resources("de") == []


def test_hetzners_api_is_gone(raised: Project, hetzner: StandIn, start_hetzner: StartHetzner) -> None:
    """Nothing is forgotten that is still there: the state stays as it is, and the same command goes on."""
    before = [resource["urn"] for resource in raised.resources("de")]
    hetzner.stop()

    raised.run(*DESTROY).expect(1).says("connect: connection refused")
    assert [resource["urn"] for resource in raised.resources("de") if resource["type"].startswith("hcloud:")] == [
        urn for urn in before if "hcloud:index/" in urn
    ]

    back = start_hetzner(port=hetzner.port)
    raised.run(*DESTROY).expect(0)
    assert is_empty(back)
    assert raised.resources("de") == []
    raised.run(*DESTROY).expect(0)


def test_the_machines_are_gone(project: Project, tmp_path: Path) -> None:
    """On-premise: k3s can't be taken off a machine that does not answer, and the engine says which it was."""
    project.write("mn", changed(MN, {"peers": []}))
    project.init("mn")
    file = tmp_path / "state.json"
    stack = "urn:pulumi:mn::isthmus::pulumi:pulumi:Stack::isthmus-mn"
    kind = "isthmus:on_premise:OnPremiseMachines"
    component = f"urn:pulumi:mn::isthmus::{kind}::machines"
    provider = "urn:pulumi:mn::isthmus::pulumi:providers:command::command"
    install = f"urn:pulumi:mn::isthmus::{kind}$command:remote:Command::mn-2"
    # Nobody listens on this port, and one try is enough.
    connection = {"host": "127.0.0.1", "port": 1, "user": "root", "dialErrorLimit": 0, "perDialTimeout": 5}
    inputs = {"connection": connection, "delete": "exit 1"}
    resources: list[dict[str, Any]] = [
        {"urn": stack, "type": "pulumi:pulumi:Stack", "custom": False},
        {"urn": provider, "type": "pulumi:providers:command", "custom": True, "id": "c0", "parent": stack},
        {"urn": component, "type": kind, "custom": False, "parent": stack},
    ]
    for urn, after in ((f"{install}-uninstall", []), (install, [f"{install}-uninstall"])):
        resources.append(
            {
                "urn": urn, "type": "command:remote:Command", "custom": True, "id": "u", "parent": component,
                "provider": f"{provider}::c0", "inputs": inputs, "outputs": {**inputs, "stdout": "", "stderr": ""},
                "dependencies": after,
            }
        )  # fmt: skip
    file.write_text(
        json.dumps({"version": 3, "deployment": {"manifest": {}, "resources": resources}}), encoding="utf-8"
    )
    project.run("stack", "import", "-s", "mn", "--file", str(file)).expect(0)

    refused = project.run("destroy", "-s", "mn", "--yes", "--skip-preview").expect(1)
    refused.says("mn-2")
    refused.says("after 0 failed attempts: dial tcp 127.0.0.1:1: connect: connection refused")

    project.run("state", "delete", install, "-s", "mn", "--yes").expect(0)
    project.run("state", "delete", f"{install}-uninstall", "-s", "mn", "--yes").expect(0)
    project.run("destroy", "-s", "mn", "--yes", "--skip-preview").expect(0)
    assert project.resources("mn") == []


def test_helms_releases_know_no_other_way(raised: Project, tmp_path: Path) -> None:
    """Why they go with their machines: the provider's way past a cluster that is gone is not for them. A state that an
    earlier version left needs one command more.
    """
    add_cluster(raised, tmp_path, goes_with_machines=False)
    raised.run(*DESTROY, environment=GONE).expect(1)

    left = [
        resource["urn"] for resource in raised.resources("de") if resource["type"] == "kubernetes:helm.sh/v3:Release"
    ]
    assert [urn.rpartition("::")[2] for urn in left] == ["isthmus-cilium"]
    for urn in left:
        raised.run("state", "delete", urn, "-s", "de", "--yes", "--force").expect(0)
    raised.run(*DESTROY, environment=GONE).expect(0)
    assert raised.resources("de") == []


@pytest.mark.parametrize(("stack", "machines"), [("de", "HetznerMachines"), ("mn", "OnPremiseMachines")])
def test_what_goes_with_its_machines(project: Project, de: dict[str, Any], stack: str, machines: str) -> None:
    """All that is in the cluster alone. What NetBird's operator clears up after, and what is in NetBird, does not."""
    project.write("de", de)
    project.write("mn", MN)
    project.init(stack)
    states = [step["newState"] for step in project.preview(stack)["steps"]]
    found = {
        (resource["type"].rpartition(":")[2], resource["urn"].rpartition("::")[2]): resource.get(
            "deletedWith", ""
        ).rpartition("::")[2]
        for resource in states
        if resource["custom"] and resource["type"].startswith(("kubernetes:", "pulumi-python:"))
    }
    with_machines = {name for name, urn in found.items() if urn == "machines"}
    assert with_machines >= {
        ("Release", "isthmus-cilium"),
        ("Release", "isthmus-netbird-operator"),
        ("CiliumClusterwideNetworkPolicy", "cilium-deny-metadata"),
    }
    # A node's membership and generation go with what fetched the kubeconfig, which is one of the machines' children.
    # The settings of its k3s do so too, where the place has them.
    kinds = {"NodeMember", "NodeGeneration"} | ({"NodeSettings"} if stack == "de" else set())
    assert {kind for (kind, _), urn in found.items() if urn not in ("", "machines")} == kinds
    assert {urn for (kind, _), urn in found.items() if kind in kinds} == {"machines-kubeconfig"}
    assert {kind for (kind, _), urn in found.items() if not urn} >= {"NetworkRouter", "SetupKey", "NetbirdGroup"}
    assert {kind for kind, _ in with_machines}.isdisjoint({"NetworkRouter", "SetupKey", "Group", "NetbirdGroup"})
    assert any(resource["type"].endswith(machines) for resource in states)
