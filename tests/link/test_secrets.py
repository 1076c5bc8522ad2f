"""No secret in plain text: not in Pulumi's state, outputs and logs, not in a process list, not in a machine's logs."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab import machines, netbird_server, project, state
from lab import up as lab_up
from lab.kubernetes import Cluster
from lab.pulumi_command import Pulumi
from lab.topology import DEFAULT
from tests.link.secret_search import lab_secrets, shown, without_operator

pytestmark = pytest.mark.link


@pytest.fixture(scope="module")
def secrets(pulumi: Pulumi, clusters: Mapping[str, Cluster]) -> dict[str, list[str]]:
    """Every secret of the lab's clusters by a name for it."""
    return lab_secrets(pulumi, clusters)


def files_below(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def test_the_search_finds_what_is_there(secrets: Mapping[str, list[str]]) -> None:
    token = netbird_server.api().token
    assert shown(secrets, f"x{token}y") == ["NetBird API token"]
    for before in ("", "x", "xy"):
        assert shown(secrets, base64.b64encode(f"{before}{token}:".encode()).decode()) == ["NetBird API token"]
    key = lab_up.ssh_key("user").read_text()
    assert shown(secrets, json.dumps({"key": key})) == ["person's SSH key"]


def test_state_and_stack_files(secrets: Mapping[str, list[str]]) -> None:
    checked = [*files_below(project.backend_directory()), *(project.stack_file(site.name) for site in DEFAULT.sites)]
    assert len(checked) > len(DEFAULT.sites)
    bad = {str(path): names for path in checked if (names := shown(secrets, path.read_text(errors="replace")))}
    assert bad == {}


def test_outputs_previews_and_logs(secrets: Mapping[str, list[str]], pulumi: Pulumi) -> None:
    bad = {}
    for path in files_below(state.STATE / "logs"):
        if names := shown(secrets, path.read_text(errors="replace")):
            bad[str(path)] = names
    for site in DEFAULT.sites:
        for arguments in (("preview", "--diff", "--show-reads"), ("stack", "output", "--json"), ("stack", "export")):
            done = pulumi.run(*arguments, "-s", site.name)
            if names := shown(secrets, done.stdout + done.stderr):
                bad[f"pulumi {' '.join(arguments)} -s {site.name}"] = names
    assert bad == {}


def all_machines() -> list[str]:
    """Every machine of the lab."""
    found = machines.list_machines()
    assert len(found) >= sum(site.node_count for site in DEFAULT.sites)
    return found


def test_process_lists(secrets: Mapping[str, list[str]]) -> None:
    bad = {}
    here = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    if names := shown(secrets, "\n".join(without_operator(here.splitlines()))):
        bad["this machine"] = names
    for machine in all_machines():
        listed = machines.exec(machine, ["ps", "-eww", "-o", "args"], check=True).stdout
        assert "systemd" in listed
        if names := shown(secrets, "\n".join(without_operator(listed.splitlines()))):
            bad[machine] = names
    assert bad == {}


def test_machines_logs(secrets: Mapping[str, list[str]]) -> None:
    script = "journalctl --no-pager --quiet; find /var/log -type f -name '*.log' -exec cat {} +"
    bad = {}
    for machine in all_machines():
        text = machines.exec(machine, ["sh", "-c", script], deadline_seconds=120).stdout
        assert len(text) > 1000, machine
        if names := shown(secrets, text):
            bad[machine] = names
    assert bad == {}


def test_pods_logs(secrets: Mapping[str, list[str]], clusters: Mapping[str, Cluster]) -> None:
    bad = {}
    for name, cluster in clusters.items():
        for pod in cluster.get("pods", namespace="*"):
            namespace, pod_name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            done = cluster.kubectl("logs", "-n", namespace, pod_name, "--all-containers", check=False)
            if names := shown(secrets, done.stdout):
                bad[f"{name}: {namespace}/{pod_name}"] = names
    assert bad == {}


def test_files_with_secrets_are_for_root_only() -> None:
    for path in (project.passphrase_file(), netbird_server.token_file(), project.kubeconfig_file()):
        assert path.stat().st_mode & 0o077 == 0, path
    assert state.STATE.stat().st_mode & 0o077 == 0
