"""Machines over SSH: what is run on them, in which order, and what it leaves alone."""

from __future__ import annotations

import base64
import io
import re
import shlex
import subprocess
import tarfile
from pathlib import Path

import yaml

from components.k3s_install import INSTALL, UPDATE
from components.on_premise import LEAVE, UNINSTALL
from domain.keys import ClusterKeys
from tests.components.recording import (
    LINKS,
    OFFERS,
    Registration,
    Run,
    engine_config_of,
    run_program,
    run_stack,
    write_stack_files,
)
from tests.components.several_servers import COMMAND, OVER_SSH
from tests.domain.samples import CLUSTER_SECRET, HOST_KEYS, MN, SSH_PRIVATE_KEY, changed, settings_of
from tests.domain.test_changes import outputs_of


class TestOnPremise:
    def test_commands(self, mn: Run) -> None:
        command = mn.one("command:remote:Command", "machines-mn-1")
        assert (command.inputs["create"], command.inputs["update"]) == (INSTALL, UPDATE)
        assert command.inputs["delete"] == (
            "timeout 60 cat >/dev/null || true; "
            "if [ -d /usr/local/lib/isthmus ]; then touch /usr/local/lib/isthmus/leaves; fi"
        )
        assert command.inputs["logging"] == "stderr"
        assert command.timeouts == {"create": "30m", "update": "30m", "delete": "15m"}
        assert "connection" in command.secret_inputs or "stdin" in command.secret_inputs
        connection = command.inputs["connection"]
        assert (connection["host"], connection["user"], connection["port"]) == ("192.168.7.11", "root", 22.0)
        assert (connection["hostKey"], connection["privateKey"]) == (HOST_KEYS[0], SSH_PRIVATE_KEY)

    def test_machines_leave_by_a_command_that_runs_at_no_other_time(self, mn: Run) -> None:
        command = mn.one("command:remote:Command", "machines-mn-2-uninstall")
        assert {"create", "update", "stdin"}.isdisjoint(command.inputs)
        assert command.inputs["delete"] == (
            "if [ -e /usr/local/lib/isthmus/leaves ]; then "
            "exec timeout -k 30 600 /usr/local/lib/isthmus/uninstall-k3s; fi"
        )
        assert command.timeouts == {"delete": "15m"}

    def test_a_machine_that_is_away_holds_up_nothing_but_itself(self, mn: Run) -> None:
        """Servers and agents wait for the first server; what is in the cluster waits for that one alone, as long as no
        node has another k3s to go on to.
        """
        commands = {command.name: set(command.depends_on) for command in mn.of("command:remote:Command")}
        assert commands == {
            "machines-mn-1-uninstall": set(),
            "machines-mn-2-uninstall": {"machines-mn-1-uninstall"},
            "machines-mn-1": {"machines-mn-1-uninstall"},
            "machines-mn-2": {"machines-mn-2-uninstall", "machines-mn-1"},
            "machines-kubeconfig": {"machines-mn-1", "machines-mn-1-uninstall", "machines-mn-2-uninstall"},
        }

    def test_archive_holds_the_node(self, mn: Run) -> None:
        command = mn.one("command:remote:Command", "machines-mn-2")
        assert "stdin" in command.secret_inputs
        archive = tarfile.open(fileobj=io.BytesIO(base64.b64decode(command.inputs["stdin"])))  # noqa: SIM115
        names = archive.getnames()
        assert "etc/rancher/k3s/config.yaml" in names
        config = yaml.safe_load(archive.extractfile("etc/rancher/k3s/config.yaml").read())  # type: ignore[union-attr]
        assert config["server"] == "https://192.168.7.11:6443"
        assert config["token"] == ClusterKeys.derive(CLUSTER_SECRET, "mn").k3s_token

    def test_same_settings_same_bytes(self, mn: Run, tmp_path: Path) -> None:
        again = run_stack(tmp_path, "mn")
        for name in ("machines-mn-1", "machines-mn-2"):
            first, second = (found.one("command:remote:Command", name).inputs["stdin"] for found in (mn, again))
            assert first == second

    def test_nothing_secret_on_a_command_line(self, mn: Run) -> None:
        token = ClusterKeys.derive(CLUSTER_SECRET, "mn").k3s_token
        for command in mn.some("command:remote:Command"):
            for key in ("create", "update", "delete"):
                assert token not in str(command.inputs.get(key))

    def test_another_user_goes_by_sudo(self, tmp_path: Path) -> None:
        found = run_stack(tmp_path, "mn", config=changed(MN, {"on_premise.ssh": {"user": "admin", "port": 2222}}))
        command = found.one("command:remote:Command", "machines-mn-1")
        assert command.inputs["create"] == f"sudo -n sh -c '{INSTALL}'"
        assert shlex.split(command.inputs["update"]) == ["sudo", "-n", "sh", "-c", UPDATE]
        assert command.inputs["connection"]["port"] == 2222.0
        fetched = found.one("command:remote:Command", "machines-kubeconfig")
        assert fetched.inputs["create"] == "sudo -n sh -c 'timeout -k 30 1260 sh -s -- 1200'"

    def test_install_unpacks_and_runs(self, tmp_path: Path) -> None:
        """The command itself, with another root than /."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            text = b"#!/bin/sh\necho installed\n"
            entry = tarfile.TarInfo("usr/local/lib/isthmus/install-k3s")
            entry.mode, entry.size = 0o755, len(text)
            tar.addfile(entry, io.BytesIO(text))

        def run(given: bytes) -> subprocess.CompletedProcess[bytes]:
            command = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", INSTALL)
            command = command.replace("--directory /", f"--directory {tmp_path}")
            return subprocess.run(["sh", "-c", command], input=given, capture_output=True, timeout=20)

        encoded = base64.b64encode(archive.getvalue())
        done = run(encoded)
        assert (done.returncode, done.stdout) == (0, b"installed\n"), done.stderr
        assert run(encoded).returncode == 0
        assert run(b"no archive").returncode != 0

    def test_only_a_machine_that_was_told_to_leave_is_uninstalled(self, tmp_path: Path) -> None:
        """An earlier version of the program deletes the resource that it doesn't know, of a cluster that stays."""
        ours = tmp_path / "usr/local/lib/isthmus"

        def run(command: str) -> str:
            moved = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", command).replace(
                "--directory /", "--directory /dev/null"
            )
            done = subprocess.run(["sh", "-c", moved], input="", capture_output=True, text=True, timeout=20)
            return done.stdout

        assert run(LEAVE) == run(UNINSTALL) == "", "nothing was ever installed"
        assert not ours.exists()
        ours.mkdir(parents=True)
        (ours / "uninstall-k3s").write_text("#!/bin/sh\necho uninstalled\n")
        (ours / "uninstall-k3s").chmod(0o755)
        assert run(UNINSTALL) == ""
        run(LEAVE)
        assert run(UNINSTALL) == "uninstalled\n"
        run(INSTALL)  # it fails at the archive, and the machine is one that stays again
        assert run(UNINSTALL) == ""

    def test_what_says_that_it_leaves_reads_all_that_it_is_given(self, tmp_path: Path) -> None:
        """Or the command provider may say EOF of what has ended well."""
        moved = LEAVE.replace("/usr/local/lib/isthmus", str(tmp_path))
        with subprocess.Popen(["sh", "-c", moved], stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"x" * 1_000_000)  # more than any pipe holds
            process.stdin.close()
            assert process.wait(20) == 0
        assert (tmp_path / "leaves").exists()

    def test_k3s_of_somebody_else_stays_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "etc/rancher/k3s").mkdir(parents=True)
        (tmp_path / "etc/rancher/k3s/config.yaml").write_text("token: theirs\n")
        command = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", INSTALL)
        done = subprocess.run(["sh", "-c", command], input="", capture_output=True, text=True, timeout=20)
        assert done.returncode == 1
        assert done.stderr == (
            f"k3s that was not put here by this program is on this machine, see {tmp_path}/etc/rancher/k3s: its data "
            "would be lost. Give the cluster by on_premise.kubeconfig, or take k3s off the machine first\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["etc"]

    def test_netbird_of_somebody_else_stays_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "sys/class/net/wt0").mkdir(parents=True)
        command = re.sub(r"/(usr|etc|sys)/", rf"{tmp_path}/\1/", INSTALL)
        done = subprocess.run(["sh", "-c", command], input="", capture_output=True, text=True, timeout=20)
        assert done.returncode == 1
        assert done.stderr == (
            "NetBird runs on this machine already, its interface wt0 is there: the agent of the router would share its "
            "interface, routes and addresses. Take it off the machine first\n"
        )
        # On a machine of ours it is the router's own.
        (tmp_path / "usr/local/lib/isthmus").mkdir(parents=True)
        done = subprocess.run(["sh", "-c", command], input="x", capture_output=True, text=True, timeout=20)
        assert "NetBird" not in done.stderr

    def test_an_upload_that_was_cut_off_installs_nothing_of_somebody_else(self) -> None:
        """The folder that marks a machine as ours comes first: what was unpacked in part is ours the next time."""
        assert INSTALL.index("mkdir -p /usr/local/lib/isthmus") < INSTALL.index("tar --extract")


def test_machines_are_installed_one_after_the_other_and_agents_three_at_a_time(tmp_path: Path) -> None:
    found = run_stack(tmp_path, "mn", config=OVER_SSH)
    after = {
        command.name: {name for name in command.depends_on if not name.endswith("-uninstall")}
        for command in found.some(COMMAND)
        if not command.name.endswith("-uninstall")
    }
    assert after == {
        "machines-start": set(),
        "machines-s-1": {"machines-start"},
        "machines-s-2": {"machines-s-1"},
        "machines-s-3": {"machines-s-2"},
        **{f"machines-mn-{number}": {"machines-s-3"} for number in (2, 3, 4)},
        "machines-mn-5": {"machines-mn-2"},
        "machines-kubeconfig": {"machines-s-1"},
    }


ROW = ["s-1", "s-2", "s-3", "mn-3", "mn-4", "mn-5", "mn-2"]
"""Servers first, what carries the link last."""


def generations(found: Run) -> dict[str, Registration]:
    return {resource.inputs["node"]: resource for resource in found.some(":NodeGeneration")}


def after_an_update(directory: Path, numbers: dict[str, int]) -> Run:
    """A run behind resource that left all nodes as they come, with these numbers now."""
    machines = [
        {**machine, "generation": numbers.get(machine["name"], 1)}
        for machine in OVER_SSH["isthmus:on_premise"]["machines"]
    ]
    config = changed(OVER_SSH, {"on_premise.machines": machines})
    write_stack_files(directory, mn=config)
    stacks = {"de": {"link": LINKS["de"], "offers": OFFERS}, "mn": outputs_of(settings_of("mn", OVER_SSH))}
    return run_program(directory, "mn", engine_config_of(config), preview=False, stacks=stacks)


def test_generations_stand_in_a_row_that_workers_hold_up_alone(tmp_path: Path) -> None:
    """Each comes after its machine and all servers, and what is in the cluster after those, whose API it needs."""
    found = run_stack(tmp_path, "mn", config=OVER_SSH)
    made = generations(found)
    assert {name: resource.inputs["generation"] for name, resource in made.items()} == dict.fromkeys(ROW, 1)
    assert {resource.inputs["k3s"] for resource in made.values()} == {""}, "each machine says what is left to do"
    assert {resource.deleted_with for resource in made.values()} == {found.one(COMMAND, "machines-kubeconfig").urn}
    before: list[str] = []
    for name in ROW:
        assert made[name].depends_on == {
            "machines-kubeconfig",
            f"machines-{name}-uninstall",
            f"machines-{name}",
            "machines-s-3",
            *before,
        }
        before = [f"machines-{name}-generation"]
    (provider,) = found.of("pulumi:providers:kubernetes")
    assert provider.depends_on == {"machines-kubeconfig", *(f"machines-s-{number}-generation" for number in (1, 2, 3))}


def test_what_is_made_anew_comes_before_what_is_in_the_cluster(tmp_path: Path) -> None:
    found = after_an_update(tmp_path, {"s-2": 2, "mn-3": 7})
    made = generations(found)
    assert {name: resource.inputs["generation"] for name, resource in made.items()} == {
        **dict.fromkeys(ROW, 1),
        "s-2": 2,
        "mn-3": 7,
    }
    (provider,) = found.of("pulumi:providers:kubernetes")
    awaited = ("s-1", "s-2", "s-3", "mn-3")
    assert provider.depends_on == {"machines-kubeconfig", *(f"machines-{name}-generation" for name in awaited)}
    # Only its own resource is another one.
    inputs = {resource.name: resource.inputs for resource in after_an_update(tmp_path, {}).some(COMMAND)}
    assert {resource.name: resource.inputs for resource in found.some(COMMAND)} == inputs
