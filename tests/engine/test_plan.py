"""What the first preview of a cluster shows: which resources, where, and nothing of a peer that is not there.

The plans are kept under golden/; ISTHMUS_UPDATE_GOLDEN=1 writes them anew, and the diff is what a reviewer reads.
"""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from domain.version import VERSION
from tests.domain.samples import DE, GIVEN, MN, changed, link_of_mn
from tests.engine.project import SECRETS, Project, steps

pytestmark = pytest.mark.engine

GOLDEN: Final = Path(__file__).parent / "golden"
PENDING: Final = "link pending: there is no stack {peer} yet; run `pulumi up -s {peer}`, then this stack again"
LINK: Final = link_of_mn("100.99.1.2")


def test_de_alone(project: Project, de: dict[str, Any]) -> None:
    """The peer's stack does not exist: no error, the link is pending, and nothing that needs the peer is planned."""
    project.write("de", de)
    project.write("mn", MN)
    project.init("de")

    plan = project.preview("de")

    golden("plan-de-alone", plan)
    assert diagnostics(plan) == [f"warning: mn: {PENDING.format(peer='mn')}"]
    assert_no_secret(json.dumps(plan))


def test_mn_over_ssh(project: Project, de: dict[str, Any]) -> None:
    """The peer's stack exists and was never raised, which is pending as well."""
    project.write("de", de)
    project.write("mn", MN)
    project.init("de")
    project.init("mn")

    plan = project.preview("mn")

    golden("plan-mn-over-ssh", plan)
    assert diagnostics(plan) == [
        "warning: de: link pending: stack de has no link yet; run `pulumi up -s de`, then this stack again"
    ]
    assert_no_secret(json.dumps(plan))


def test_mn_as_an_existing_cluster_that_cannot_be_reached(project: Project, charts: str) -> None:
    """A runner outside of the site still gets the plan."""
    project.write("de", DE)
    project.write("mn", changed(GIVEN, {"mirrors.charts": charts}))
    project.init("mn")

    plan = project.preview("mn")

    golden("plan-mn-existing-cluster", plan)
    said = diagnostics(plan)
    # The kubeconfig of these tests has no certificate authority, so who made the namespace can't be asked either.
    (namespace,) = [sentence for sentence in said if sentence.startswith("namespace netbird: ")]
    assert namespace.endswith("and leaves it when the stack goes")
    unreachable, pending = sorted(set(said) - {namespace}, key=lambda sentence: "pending" in sentence)
    assert unreachable.startswith("warning: the cluster's API at 127.0.0.1:")
    assert unreachable.endswith("an `up` from here would fail")
    assert pending == f"warning: de: {PENDING.format(peer='de')}"
    assert_no_secret(json.dumps(plan))


def test_de_with_a_peer_that_has_been_raised(project: Project, de: dict[str, Any]) -> None:
    project.write("de", de)
    project.write("mn", MN)
    project.init("de")
    raised(project, "mn", {"link": LINK, "offers": {"cluster_ips": True}})

    plan = project.preview("de")

    golden("plan-de-linked", plan)
    assert diagnostics(plan) == [
        "mn: linked: pods 10.52.0.0/16, services 10.53.0.0/16 and zone astring-mn.internal by 100.99.1.2"
    ]


def test_a_link_of_a_version_that_is_too_new_is_refused(project: Project, de: dict[str, Any]) -> None:
    project.write("de", de)
    project.write("mn", MN)
    project.init("de")
    raised(project, "mn", {"link": {**LINK, "schema_version": 3}})

    result = project.run("preview", "-s", "de").expect(1)

    result.says(
        f"error: de: link of mn: schema_version 3 is too new, Isthmus {VERSION} reads 1, 2; "
        "take the version of the program that raised mn."
    )
    assert "Traceback" not in result.output


def raised(project: Project, stack: str, outputs: dict[str, Any]) -> None:
    """A stack with these outputs, as after an `up`."""
    project.init(stack)
    resource = {
        "urn": f"urn:pulumi:{stack}::isthmus::pulumi:pulumi:Stack::isthmus-{stack}",
        "custom": False,
        "type": "pulumi:pulumi:Stack",
        "outputs": outputs,
    }
    file = project.directory / "state.json"
    file.write_text(json.dumps({"version": 3, "deployment": {"manifest": {}, "resources": [resource]}}))
    project.run("stack", "import", "-s", stack, "--file", str(file)).expect(0)


def golden(name: str, preview: dict[str, Any]) -> None:
    """Compares the plan with the kept one: a line a resource, its parent first."""
    planned = steps(preview)
    assert {step.op for step in planned} <= {"create", "read"}
    found = "".join(f"{step}\n" for step in planned)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ISTHMUS_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def diagnostics(preview: dict[str, Any]) -> list[str]:
    return [str(diagnostic["message"]).strip() for diagnostic in preview.get("diagnostics") or []]


def assert_no_secret(text: str) -> None:
    shown = [name for name, value in SECRETS.items() if json.dumps(value)[1:-1] in text]
    assert shown == []


# --- charts -----------------------------------------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
        """Nothing: tests have a quiet output."""


@pytest.fixture
def charts(tmp_path: Path) -> Iterator[str]:
    """A mirror of charts that holds next to nothing under the right names: the plugin reads a chart even for a plan."""
    directory = tmp_path / "charts"
    directory.mkdir()
    for name, version in (("cilium", "1.19.6"), ("netbird-operator", "0.8.0")):
        with tarfile.open(directory / f"{name}-{version}.tgz", "w:gz") as archive:
            text = f"apiVersion: v2\nname: {name}\nversion: {version}\n".encode()
            entry = tarfile.TarInfo(f"{name}/Chart.yaml")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
