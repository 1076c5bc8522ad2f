"""The lab's stack files: good settings by the program's own rules, and nothing of a secret in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.settings import StackSettings, parse_stack
from lab import project, state
from lab.project import Artifacts, Tools, environment, stack_settings
from lab.topology import DEFAULT

ARTIFACTS = Artifacts(
    k3s_version="v1.34.2+k3s1",
    k3s_sha256="ab" * 32,
    k3s_directory="http://198.51.100.30/k3s",
    charts_directory="http://198.51.100.30/charts",
    registries={"docker.io": "http://198.51.100.30", "quay.io": "http://198.51.100.30"},
    cilium_version="1.19.6",
    operator_version="0.8.0",
    agent_image="netbirdio/netbird:0.77.1",
)
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGWpLXLgHqbQFzLYoiwqJu5hkbfOkYOsaVW5bQwqVzQB"
HOST_KEYS = {"mn-1": HOST_KEY, "mn-2": HOST_KEY}


@pytest.fixture
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "STATE", tmp_path)
    project.directory().mkdir()
    return tmp_path


def settings_of(stack: str, *, privileged: bool = False) -> dict[str, Any]:
    return stack_settings(DEFAULT, DEFAULT.site(stack), ARTIFACTS, host_keys=HOST_KEYS, privileged=privileged)


@pytest.mark.parametrize("stack", ["de", "mn"])
@pytest.mark.parametrize("privileged", [False, True])
def test_settings_pass_the_programs_own_rules(stack: str, privileged: bool) -> None:
    config = settings_of(stack, privileged=privileged)
    fitting = {
        "de": ["isthmus:clusterSecret", "isthmus:netbirdApiToken", "hcloud:token"],
        "mn": ["isthmus:clusterSecret", "isthmus:netbirdApiToken", "isthmus:sshPrivateKey"],
    }[stack]
    parsed = parse_stack(stack, config, secrets=fitting)
    assert isinstance(parsed, StackSettings), [str(problem) for problem in parsed]
    assert parsed.peers == DEFAULT.peers(DEFAULT.site(stack))


def test_only_a_root_without_the_capability_makes_cilium_privileged() -> None:
    assert "values" not in settings_of("de")["isthmus:cilium"]
    assert settings_of("de", privileged=True)["isthmus:cilium"]["values"] == {"securityContext": {"privileged": True}}


def test_hetzner_settings_let_in_only_the_persons_site() -> None:
    hetzner = settings_of("de")["isthmus:hetzner"]
    assert hetzner["api_allowed_cidrs"] == hetzner["ssh_allowed_cidrs"] == ["198.51.100.50/32"]


def test_machines_come_with_their_host_keys() -> None:
    machines = settings_of("mn")["isthmus:on_premise"]["machines"]
    assert [(one["name"], one["role"], one["router"], one["host_key"]) for one in machines] == [
        ("mn-1", "server", False, HOST_KEY),
        ("mn-2", "agent", True, HOST_KEY),
    ]


def test_a_stack_file_keeps_what_a_person_or_pulumi_wrote(state_directory: Path) -> None:
    path = project.stack_file("de")
    written = {
        "encryptionsalt": "v1:abc",
        "config": {
            "isthmus:clusterSecret": {"secure": "v1:x"},
            "isthmus:dns": {"stale_seconds": 0},
            "hcloud:pollInterval": "1s",
        },
    }
    path.write_text(yaml.safe_dump(written))
    assert project.write_stack_file("de", settings_of("de")) is True
    after = yaml.safe_load(path.read_text())
    assert after["encryptionsalt"] == "v1:abc"
    assert after["config"]["isthmus:clusterSecret"] == {"secure": "v1:x"}
    assert after["config"]["isthmus:dns"] == {"stale_seconds": 0}
    assert after["config"]["hcloud:pollInterval"] == "1s"
    assert after["config"]["isthmus:network"]["pod_cidr"] == "10.42.0.0/16"
    assert project.write_stack_file("de", settings_of("de")) is False


def test_a_changed_checksum_reaches_the_stack_file(state_directory: Path) -> None:
    project.write_stack_file("de", settings_of("de"))
    newer = {**settings_of("de"), "isthmus:k3s": {"version": "v1.34.2+k3s1", "sha256": "cd" * 32}}
    project.renew_settings("de", ["isthmus:k3s"], newer)
    assert yaml.safe_load(project.stack_file("de").read_text())["config"]["isthmus:k3s"]["sha256"] == "cd" * 32


def test_the_persons_environment_has_no_proxy_and_no_other_pulumi(state_directory: Path) -> None:
    tools = Tools(pulumi_bin=Path("/tools/pulumi"), kubectl=Path("/tools/kubernetes/kubectl"))
    base = {
        "PATH": "/usr/bin",
        "HOME": "/root",
        "https_proxy": "http://proxy",
        "NO_PROXY": "*",
        "PULUMI_ACCESS_TOKEN": "secret",
        "KUBECONFIG": "/root/.kube/config",
        "HCLOUD_TOKEN": "secret",
        "PYTHONPATH": "/elsewhere",
        "SSH_AUTH_SOCK": "/run/agent",
    }
    made = environment(tools, base)
    assert made["PATH"] == "/tools/pulumi:/tools/kubernetes:/usr/bin"
    assert made["KUBECONFIG"] == str(state_directory / "kubeconfig")
    assert made["PULUMI_BACKEND_URL"] == f"file://{state_directory}/pulumi/backend"
    for name in ("https_proxy", "NO_PROXY", "PULUMI_ACCESS_TOKEN", "HCLOUD_TOKEN", "PYTHONPATH", "SSH_AUTH_SOCK"):
        assert name not in made


def test_new_secrets_have_the_forms_that_are_asked_for() -> None:
    assert len(project.new_hetzner_token()) == 64
    assert len(bytes.fromhex(project.new_cluster_secret())) == 32
    assert project.new_cluster_secret() != project.new_cluster_secret()
