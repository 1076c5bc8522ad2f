"""What is run on a machine as root: the deadlines are above those of the installer itself, and where k3s runs what goes
node by node is left to come.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components.k3s_install import INSTALL_SECONDS, STAGE_SECONDS, UPDATE
from components.on_premise import left_to_do
from domain.bundle import tar_bundle
from domain.node_files import NodeFile, node_files, script
from tests.domain.samples import HOST_KEYS, MN, changed, plan_of, settings_of

CONFIG: Final = "etc/rancher/k3s/config.yaml"
HOST: Final = {"role": "server", "host_key": HOST_KEYS[0]}
LATER: Final = "k3s was here before, and takes its other version or settings later, node by node\n"


def seconds(name: str) -> int:
    (found,) = re.findall(rf"^{name}=([0-9]+)", script("install-k3s.sh"), re.MULTILINE)
    return int(found)


def test_the_machine_ends_them_after_the_installer_has_had_its_time() -> None:
    assert seconds("total_seconds") == INSTALL_SECONDS
    assert seconds("lock_seconds") + seconds("download_seconds") <= STAGE_SECONDS


class Machine:
    """A machine's files below a directory, with an installer that only says that it was run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.add("bin/systemctl", f"#!/bin/sh\n[ -e {root}/active/$3 ]\n")
        self.add("sys/class/net/cilium_host", "")

    def add(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def update(
        self, settings: Mapping[str, Any], *, token: str = "5f", node: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """The command with these settings of mn, whose first machine it is, or that of another number."""
        plan, given = plan_of("mn", settings), settings_of("mn", settings)
        files = [
            file for file in node_files(plan, plan.nodes[node], given, token, "b3") if "install-k3s" not in file.path
        ]
        files.append(NodeFile("/usr/local/lib/isthmus/install-k3s", 0o755, "#!/bin/sh\necho installed\n"))
        command = re.sub(r"/(usr|etc|sys)/", rf"{self.root}/\1/", UPDATE).replace(
            "/var/lib/kubelet", f"{self.root}/var/lib/kubelet"
        )
        # As the archive has them.
        command = command.replace('"${1#/}"', f'"${{1#{self.root}/}}"').replace(
            "--directory /", f"--directory {self.root}"
        )
        assert command != UPDATE
        return subprocess.run(
            ["sh", "-c", command],
            input=base64.b64encode(tar_bundle(files)).decode(),
            env={"PATH": f"{self.root}/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=20,
        )

    def files(self) -> dict[str, str]:
        return {str(path.relative_to(self.root)): path.read_text() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def installed(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    assert machine.update(MN).stdout == "installed\n"
    machine.add("active/k3s.service", "")
    return machine


@pytest.mark.parametrize(
    "changes",
    [
        {"k3s.version": "v1.34.10+k3s1", "k3s.sha256": "5" * 64},
        {"k3s.server_config": {"etcd-expose-metrics": True}},
        {"mirrors.registries": {"docker.io": "https://mirror.example"}},
    ],
)
def test_where_k3s_runs_its_version_and_settings_come_later(installed: Machine, changes: dict[str, Any]) -> None:
    before = installed.files()
    done = installed.update(changed(MN, changes))
    assert (done.returncode, done.stderr) == (0, LATER)
    assert left_to_do(done.stdout) == done.stdout.strip() != ""
    assert installed.files() == before, "no secret stays behind either"
    assert installed.update(changed(MN, changes)).stdout != done.stdout, "another word each time"

    (installed.root / "active/k3s.service").unlink()
    at_once = installed.update(changed(MN, changes))
    assert (at_once.stdout, left_to_do(at_once.stdout)) == ("installed\n", "")
    assert installed.files() != before


def test_registries_that_go_come_later_as_well(installed: Machine) -> None:
    mirrored = changed(MN, {"mirrors.registries": {"docker.io": "https://mirror.example"}})
    installed.add("etc/rancher/k3s/registries.yaml", "mirrors: {}\n")
    assert installed.update(MN).stderr == LATER
    assert installed.update(mirrored).stderr == LATER


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        ({}, "5f"),
        ({}, "60"),
        ({"k3s.sha256": "5" * 64}, "5f"),
    ],
    ids=["nothing", "token", "checksum of the same version"],
)
def test_all_else_is_laid_at_once(installed: Machine, changes: dict[str, Any], token: str) -> None:
    done = installed.update(changed(MN, changes), token=token)
    assert (done.returncode, done.stdout, done.stderr) == (0, "installed\n", "")
    assert yaml.safe_load(installed.files()[CONFIG])["token"] == token
    assert not [path for path in installed.files() if "archive" in path]


def test_before_cilium_has_come_all_is_laid_at_once(installed: Machine) -> None:
    (installed.root / "sys/class/net/cilium_host").unlink()
    done = installed.update(changed(MN, {"k3s.version": "v1.34.10+k3s1", "k3s.sha256": "5" * 64}))
    assert done.stdout == "installed\n"


def test_the_only_server_becomes_one_of_several_at_once(installed: Machine) -> None:
    """The others wait for its etcd, and it would wait for them to be ready."""
    more = [{**HOST, "name": name, "address": f"192.168.7.{at}"} for name, at in (("s-2", 21), ("s-3", 22))]
    machines = [*MN["isthmus:on_premise"]["machines"], *more]
    newer = {"k3s.version": "v1.34.10+k3s1", "k3s.sha256": "5" * 64}
    assert installed.update(changed(MN, {"on_premise.machines": machines, **newer})).stdout == "installed\n"
    latest = {"k3s.version": "v1.34.11+k3s1", "k3s.sha256": "6" * 64}
    assert installed.update(changed(MN, {"on_premise.machines": machines, **latest})).stderr == LATER


@pytest.mark.parametrize("given", ["no archive!", "", base64.b64encode(bytes(1024)).decode()])
def test_an_archive_that_was_cut_off_changes_nothing(installed: Machine, given: str) -> None:
    before = installed.files()
    command = re.sub(r"/(usr|etc|sys)/", rf"{installed.root}/\1/", UPDATE)
    done = subprocess.run(["sh", "-c", command], input=given, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert installed.files() == before


def test_another_role_is_taken_at_once(installed: Machine) -> None:
    """A row that counts servers and workers by themselves has nothing to compare it with."""
    done = installed.update(changed(MN, {"k3s.server_config": {"etcd-expose-metrics": True}}), node=1)
    assert done.stdout == "installed\n"


@pytest.mark.parametrize(
    ("changes", "later"),
    [
        ({"k3s.version": "v1.34.10+k3s1", "k3s.sha256": "5" * 64}, True),
        ({"k3s.agent_config": {"kubelet-arg": ["max-pods=200"]}}, False),
    ],
    ids=["version", "settings"],
)
@pytest.mark.parametrize("joined", [True, False])
def test_a_worker_that_does_not_run_gets_no_version_before_its_servers(
    tmp_path: Path, changes: dict[str, Any], later: bool, joined: bool
) -> None:
    """Its settings it gets, which may be why it does not run; and all of it where it has never been a node."""
    machine = Machine(tmp_path)
    assert machine.update(MN, node=1).stdout == "installed\n"
    if joined:
        machine.add("var/lib/kubelet/pki", "")
    done = machine.update(changed(MN, changes), node=1)
    assert (done.returncode, bool(left_to_do(done.stdout))) == (0, later and joined)
