"""say-k3s-settings as it ships, run in a folder: what it says of the settings with which k3s was started is what the
program makes of a stack file, and changes with all that a restart is for.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from domain.names import K3S_CONFIG, K3S_REGISTRIES
from domain.node_files import NOT_COMPARED, node_files, settings_digest
from tests.domain.moved_script import move_script, run_script
from tests.domain.samples import DE, plan_of, settings_of

SCRIPT = "say-k3s-settings.sh"
TOKEN = "the-token"
CONFIG = {
    "k3s.server_config": {
        "kube-apiserver-arg": ["v=2", "-x: #y", "node-name: z", "token: a"],
        "tls-san": "first\n\ntoken: second\n- third",
        "disable": ["metrics-server"],
        "etcd-snapshot-retention": 7,
        "debug": True,
    },
    "k3s.agent_config": {"kubelet-arg": ["max-pods=200"]},
}
POOL: Final = {"server_type": "cx33", "addresses": "10.0.1.64/28", "count": 1}
SERVER, AGENT = 0, 1


def digest(node: int, changes: dict[str, Any] | None = None) -> str:
    plan = plan_of("de", DE, changes)
    return settings_digest(plan, plan.nodes[node], settings_of("de", DE, changes))


@dataclass(frozen=True)
class Machine:
    """A folder that stands for a machine."""

    root: Path

    def has(self, node: int, changes: dict[str, Any] | None = None, *, token: str = TOKEN) -> None:
        """The files of that node of de."""
        plan = plan_of("de", DE, changes)
        files = node_files(plan, plan.nodes[node], settings_of("de", DE, changes), token, "p")
        content = {file.path: file.content for file in files}
        for path in (K3S_CONFIG, K3S_REGISTRIES):
            file = self.root / "etc" / Path(path).name
            file.unlink(missing_ok=True)
            if path in content:
                file.write_text(content[path])

    def starts(self) -> None:
        """What install-k3s leaves then."""
        sums = [
            subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
            for file in sorted((self.root / "etc").iterdir())
        ]
        (self.root / "lib/applied").write_text(f"{''.join(sums)}5f  /etc/systemd/system/k3s.service\n5f\n")

    def says(self) -> str:
        done = run_script(self.root, SCRIPT, os.environ["PATH"], *NOT_COMPARED)
        assert (done.returncode, done.stderr) == (0, "")
        before, said = done.stdout.removesuffix("\n").split(": ")
        assert before == "say-k3s-settings"
        return said


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    move_script(tmp_path, SCRIPT, {"/usr/local/lib/isthmus": "lib", "/etc/rancher/k3s": "etc"}, {})
    for folder in ("lib", "etc"):
        (tmp_path / folder).mkdir()
    return Machine(tmp_path)


@pytest.mark.parametrize("node", [SERVER, AGENT])
@pytest.mark.parametrize(
    "changes", [{}, CONFIG, {**CONFIG, "mirrors": {"registries": {"docker.io": "http://m.example"}}}]
)
def test_it_says_what_the_stack_file_says(machine: Machine, node: int, changes: dict[str, Any]) -> None:
    machine.has(node, changes)
    machine.starts()
    assert machine.says() == digest(node, changes)


def test_a_file_that_came_after_the_start_is_no_setting_yet(machine: Machine) -> None:
    """An `up` was killed before it started k3s anew."""
    machine.has(AGENT)
    assert machine.says() == "others"
    machine.starts()
    assert machine.says() == digest(AGENT)
    machine.has(AGENT, CONFIG)
    assert machine.says() == "others"
    machine.has(AGENT, {"mirrors": {"registries": {"docker.io": "http://m.example"}}})
    assert machine.says() == "others"
    machine.starts()
    machine.has(AGENT)
    assert machine.says() == "others", "registries that are gone count as well"


def test_it_says_no_secret_and_asks_for_no_restart_by_one(machine: Machine) -> None:
    machine.has(SERVER)
    machine.starts()
    said = machine.says()
    machine.has(SERVER, token="another")
    machine.starts()
    assert machine.says() == said


def test_a_machine_without_k3s(machine: Machine) -> None:
    done = run_script(machine.root, SCRIPT, os.environ["PATH"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"say-k3s-settings: {machine.root}/etc/config.yaml is missing\n"


def test_what_changes_them() -> None:
    """Of all nodes of a role alike, and nothing that is brought to a node that runs in another way."""
    plain = digest(SERVER), digest(AGENT)
    assert len({*plain}) == 2
    two = {"hetzner.workers.count": 2, "hetzner.control_plane.count": 3}
    assert digest(4, two) == digest(3, two)
    assert {digest(number, two) for number in range(3)} == {plain[SERVER]}
    marks = {"labels": {"a": "b"}, "taints": ["a=b:NoSchedule"]}
    pools = ({"hetzner.pools": {"db": pool}} for pool in (POOL, {**POOL, **marks}))
    assert [digest(2, pool) for pool in pools] == [plain[AGENT]] * 2
    assert (digest(SERVER, {"k3s.version": "v1.35.0+k3s1"}), digest(AGENT, {"k3s.version": "v1.35.0+k3s1"})) == plain
    assert digest(SERVER, CONFIG) != plain[SERVER]
    assert digest(AGENT, CONFIG) != plain[AGENT]
    only = {"k3s.agent_config": CONFIG["k3s.agent_config"]}
    assert (digest(SERVER, only), digest(AGENT, only) == plain[AGENT]) == (plain[SERVER], False)
    mirrored = {"mirrors": {"registries": {"docker.io": "http://m.example"}}}
    assert digest(AGENT, mirrored) != plain[AGENT]
