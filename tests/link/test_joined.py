"""A lab that is up: what `lab up` said and did, what a person can do in it by hand, and that the link carries."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from lab import project, state
from lab.commands import wait_until
from lab.inside import call_inside
from lab.pulumi_command import Pulumi
from lab.status import Status
from lab.steps import read_timings
from lab.topology import DEFAULT, SERVICES_NAMESPACE, WORKSTATION_NAMESPACE
from tests.link.assertions import all_passed, told
from tests.link.conftest import Verify

pytestmark = pytest.mark.link

REPOSITORY = Path(__file__).resolve().parents[2]
DIRECT_SECONDS = 60.0


def isthmus(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REPOSITORY / "isthmus"), *arguments], capture_output=True, text=True, timeout=900, cwd="/"
    )


def test_the_real_pulumi_raised_every_stack_in_its_order() -> None:
    steps = [step["step"] for run in read_timings() for step in run["steps"]]
    raised = [step.rsplit(" ", 1)[-1] for step in steps if step.startswith("pulumi up ")]
    assert raised[-3:] == ["de", "mn", "de"]


def test_the_lab_is_up_with_direct_links(status: Callable[[], Status]) -> None:
    last: list[str] = []

    def direct() -> Status | None:
        found = status()
        last[:] = [told(found)]
        near = all(
            link.path == "direct" and link.round_trip_ms is not None and link.round_trip_ms < 100
            for link in found.links
        )
        return found if found.is_up and near else None

    # The lab is up as soon as packets pass. They do by NetBird's relay first, and directly some seconds later; and what
    # runs beside may hold up a single answer.
    found = wait_until(
        direct,
        what="the links are direct",
        deadline_seconds=DIRECT_SECONDS,
        state=lambda: "; ".join(last),
        every_seconds=0.5,
    )
    assert [(link.source, link.target, link.path) for link in found.links] == [
        ("de", "mn", "direct"),
        ("mn", "de", "direct"),
    ]
    assert {cluster.name: cluster.routers[0].node for cluster in found.clusters}["mn"] == "mn-2"


def test_a_second_lab_up_says_that_all_is_up() -> None:
    done = isthmus("lab", "up")
    assert done.returncode == 0, done.stderr
    assert "All is up already." in done.stderr
    assert "pulumi up --yes" not in done.stderr, "no stack is raised again"
    for text in ("de-agent-1", "mn-2", "de → mn", "mn → de", "direct", "Next things to try:", "./isthmus lab verify"):
        assert text in done.stdout, done.stdout


def reaches(namespace: str, address: str, port: int) -> bool:
    def connect() -> bool:
        try:
            with socket.create_connection((address, port), timeout=3):
                return True
        except TimeoutError:
            return False

    return call_inside(namespace, connect)


def test_the_firewall_of_a_server_stands_after_a_second_lab_up() -> None:
    kubeconfig = yaml.safe_load(project.kubeconfig_file().read_text())
    servers = {cluster["name"]: urlsplit(cluster["cluster"]["server"]) for cluster in kubeconfig["clusters"]}
    address, port = str(servers["de"].hostname), int(servers["de"].port or 443)
    assert reaches(WORKSTATION_NAMESPACE, address, port)
    assert not reaches(SERVICES_NAMESPACE, address, port)


def test_status_as_json_names_every_router() -> None:
    done = isthmus("lab", "status", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["up"] is True
    assert len(found["clusters"]) == 2
    assert all(cluster["routers"][0]["netbird_ip"].startswith("100.") for cluster in found["clusters"])


@pytest.mark.parametrize(
    ("stack", "shell"),
    [
        ("de", "bash"),
        ("mn", "sh"),
        pytest.param("de", "sh", marks=pytest.mark.thorough),
        pytest.param("mn", "bash", marks=pytest.mark.thorough),
    ],
)
def test_preview_by_hand_says_that_nothing_changes(stack: str, shell: str) -> None:
    script = (
        f'eval "$({REPOSITORY}/isthmus lab env)" && pulumi preview -s {stack} --expect-no-changes --non-interactive'
    )
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, timeout=300, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " unchanged" in done.stdout


def test_kubectl_by_hand_has_a_context_for_each_cluster() -> None:
    for site in DEFAULT.sites:
        script = f'eval "$({REPOSITORY}/isthmus lab env)" && kubectl --context {site.name} get nodes --output=json'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, cwd="/")
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["items"]) == site.node_count


def test_the_link_output_has_what_a_peer_needs(pulumi: Pulumi) -> None:
    for site in DEFAULT.sites:
        outputs = pulumi.outputs(site.name)
        link = outputs["link"]
        assert link["schema_version"] == 1
        assert link["cluster"] == site.name
        assert link["pod_cidr"] == str(site.ranges.pods)
        assert link["service_cidr"] == str(site.ranges.services)
        assert link["dns_zone"] == site.ranges.dns_zone
        assert len(link["node_ips"]) == site.node_count
        assert len(link["routers"]) == 1


def test_verify_passes(run_verify: Verify) -> None:
    all_passed(run_verify())


def test_verify_on_the_command_line_gives_json_and_an_exit_code() -> None:
    done = isthmus("lab", "verify", "--json", "--only", "de-mn.router-other")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)
    services = {"cluster-ip", "cluster-ip-udp", "cluster-ip-name"}
    assert {result["id"].rsplit(".", 1)[-1] for result in results} == {
        "icmp",
        "tcp",
        "http",
        "pod-name",
        "mtu",
        *services,
    }
    assert all(result["status"] == "pass" and result["seconds"] >= 0 for result in results)


def test_no_error_is_in_the_helpers_logs() -> None:
    logs = state.STATE / "logs"
    for name in ("mirror", "hetzner-api"):
        assert "Traceback" not in (logs / f"{name}.log").read_text(errors="replace")
