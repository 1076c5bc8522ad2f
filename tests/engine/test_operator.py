"""NetBird's operator in a cluster of others: whose its namespace is, and its kinds at the version of the chart.

Engine, provider and API server are real.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components.chart_crds import CRDS, keep_crds
from components.kubernetes_client import KubernetesClient
from components.netbird_operator import RELEASE
from tests.domain.test_chart_crds import CHART, record
from tests.engine.api_server import ApiServer
from tests.engine.project import Project, Result

pytestmark = pytest.mark.engine

PROGRAM: Final = Path(__file__).parent / "programs" / "operator.py"
NAMESPACES: Final = "/api/v1/namespaces"
NAMESPACE: Final = f"{NAMESPACES}/netbird"
SECRETS: Final = f"{NAMESPACE}/secrets"
MERGE: Final = "application/merge-patch+json"
MADE: Final = "made it; this stack uses it, and leaves it when it goes"


@pytest.fixture
def api(servers: ApiServer) -> Iterator[ApiServer]:
    """The API server without a namespace `netbird`, and with what takes one away that was deleted: it has no
    controllers.
    """
    ended = threading.Event()

    def finalize() -> None:
        while not ended.wait(0.1):
            with contextlib.suppress(OSError):
                found = servers.call("GET", NAMESPACE)[1]
                if found["metadata"].get("deletionTimestamp"):
                    # That of the garbage collector first, then that of the namespace controller.
                    servers.call("PATCH", NAMESPACE, {"metadata": {"finalizers": None}}, kind=MERGE)
                    servers.call("PUT", f"{NAMESPACE}/finalize", {**found, "spec": {"finalizers": []}})
                    servers.call("DELETE", NAMESPACE)

    thread = threading.Thread(target=finalize)
    thread.start()
    yield servers
    servers.call("DELETE", f"{SECRETS}/sh.helm.release.v1.{RELEASE}.v2")
    servers.call("DELETE", NAMESPACE)
    end = time.monotonic() + 30
    while servers.call("GET", NAMESPACE)[0] == 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    ended.set()
    thread.join()


class Operator:
    """The stack of the program. Its namespace alone: nobody here runs the operator."""

    def __init__(self, project: Project, api: ApiServer) -> None:
        self._project = project
        self._api = api
        project.runs(PROGRAM)
        project.init("mn")

    def run(self, command: str, *arguments: str, before: bool = False) -> Result:
        config = {"isthmus:kubeconfig": self._api.kubeconfig, "isthmus:before": str(before).lower()}
        self._project.write("mn", config)
        chosen = ("**Namespace::netbird**", "**::netbird-operator", "**pulumi:providers:kubernetes::mn")
        return self._project.run_some(command, "mn", chosen, *arguments).expect(0)


@pytest.fixture
def operator(project: Project, api: ApiServer) -> Operator:
    return Operator(project, api)


def create(api: ApiServer, manager: str) -> None:
    """What `kubectl create namespace` does."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "netbird", "labels": {"team": "a"}}}
    status, answer = api.call("POST", f"{NAMESPACES}?fieldManager={manager}", body)
    assert status == 201, answer


def labels(api: ApiServer) -> dict[str, str] | None:
    """Those of the namespace, without that of Kubernetes; None when it is gone or goes."""
    status, found = api.call("GET", NAMESPACE)
    if status != 200 or found["metadata"].get("deletionTimestamp"):
        return None
    return {key: value for key, value in found["metadata"]["labels"].items() if not key.startswith("kubernetes.io/")}


def has_release(api: ApiServer, files: dict[str, bytes]) -> None:
    """Helm's record of our release, as the Secret that Helm makes."""
    made = record(files)
    metadata = made["metadata"] | {"name": f"sh.helm.release.v1.{RELEASE}.v2"}
    metadata["labels"] |= {"name": RELEASE}
    body = {"apiVersion": "v1", "kind": "Secret", **made, "metadata": metadata, "type": "helm.sh/release.v1"}
    status, answer = api.call("POST", SECRETS, body)
    assert status == 201, answer


def test_a_namespace_of_others_stays_theirs(operator: Operator, api: ApiServer) -> None:
    create(api, "kubectl-create")
    operator.run("preview").says(MADE)
    operator.run("up").says(MADE)
    operator.run("up").says(MADE)
    assert labels(api) == {"team": "a"}
    operator.run("destroy")
    assert labels(api) == {"team": "a"}


def test_ours_comes_and_goes(operator: Operator, api: ApiServer) -> None:
    first = operator.run("up")
    second = operator.run("up")
    assert MADE not in first.output + second.output
    assert labels(api) == {"isthmus.dev/made-by": "isthmus"}
    operator.run("preview", "--expect-no-changes")
    operator.run("destroy")
    assert labels(api) is None


def test_ours_of_an_earlier_release_stays_ours(operator: Operator, api: ApiServer) -> None:
    operator.run("up", before=True)
    has_release(api, {})
    steps = operator.run("preview", "--json").json["steps"]
    assert {step["op"] for step in steps if step["urn"].endswith("Namespace::netbird-operator-namespace")} == {"update"}
    assert MADE not in operator.run("up").output
    assert labels(api) == {"isthmus.dev/made-by": "isthmus"}
    operator.run("destroy")
    assert labels(api) is None


def test_one_of_others_that_an_earlier_release_took_over_stays_theirs(operator: Operator, api: ApiServer) -> None:
    """Its `destroy` would have deleted it, with all that is in it."""
    create(api, "kubectl-create")
    operator.run("up", before=True)
    has_release(api, {})
    operator.run("up").says(MADE)
    operator.run("destroy")
    assert labels(api) == {"team": "a"}


def test_kinds_of_an_older_chart_are_brought_up_to_date(api: ApiServer) -> None:
    """With objects of theirs in place, and those that are missing are made."""
    create(api, "helm")
    files = {f"crds/{path.name}": path.read_bytes() for path in CHART.glob("crds/*.yaml")}
    has_release(api, files)
    older: dict[str, Any] = yaml.safe_load(files["crds/netbird.io_groups.yaml"])
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {"type": "object", "properties": {"title": {"type": "string"}}}
    status, answer = api.call("POST", f"{CRDS}?fieldManager=helm", older)
    assert status == 201, answer
    group = {"apiVersion": "netbird.io/v1alpha1", "kind": "Group", "metadata": {"name": "g"}, "spec": {"name": "n"}}
    groups = "/apis/netbird.io/v1alpha1/namespaces/netbird/groups"
    eventually(api, groups)
    assert api.call("POST", groups, group)[1]["spec"] == {}, "the older kind does not know the field"

    client = KubernetesClient(api.kubeconfig)
    chart, applied = keep_crds(client, "netbird", RELEASE)
    assert (chart, len(applied)) == ("netbird-operator 0.8.0", 12)
    assert keep_crds(client, "netbird", RELEASE) == (chart, [])
    spec = api.call("GET", f"{CRDS}/groups.netbird.io")[1]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert set(spec["properties"]["spec"]["properties"]) == {"name"}
    assert api.call("GET", f"{groups}/g")[0] == 200


def eventually(api: ApiServer, collection: str) -> None:
    """Returns once a kind that was just made is served."""
    end = time.monotonic() + 30
    while api.call("GET", collection)[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
