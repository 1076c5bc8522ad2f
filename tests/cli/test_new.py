"""`./isthmus new`: a file that collides with nothing, never over another, and what is left to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.new import Answer, set_cluster_secret
from domain.fleet import check_files
from domain.stack_directory import read_stack_files
from tests.cli.test_plan import REPOSITORY, called, write
from tests.domain.samples import DE, MN

NO_PULUMI = "/nowhere"


def new(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return called("new", "--directory", str(directory), *arguments, path=NO_PULUMI)


def test_what_is_written_and_what_is_left(tmp_path: Path) -> None:
    write(tmp_path, de=DE, mn=MN)
    done = new(tmp_path, "us", "--hetzner", "--location", "nbg1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"Wrote {tmp_path}/Pulumi.us.yaml.",
        "  network.pod_cidr       10.44.0.0/16",
        "  network.service_cidr   10.45.0.0/16",
        "  hetzner.network_cidr   10.1.0.0/16",
        "  network.node_cidr      10.1.1.0/24",
        "",
        "What is left:",
        "1. Go to where the stack files lie:",
        f"     cd {tmp_path}",
        "2. Fill in Pulumi.us.yaml:",
        "     hetzner.api_allowed_cidrs.0: your public addresses, like 203.0.113.7/32",
        "     hetzner.ssh_allowed_cidrs.0: your public addresses, like 203.0.113.7/32",
        "3. Set the secrets:",
        "     pulumi stack init us",
        "     openssl rand -hex 32 | pulumi config set --secret clusterSecret -s us",
        "     pulumi config set --secret netbirdApiToken -s us",
        "     pulumi config set --secret hcloud:token -s us",
        "4. Let the other stacks list this one:",
        "     Pulumi.de.yaml, line 7: isthmus:peers: [mn, us]",
        "     Pulumi.mn.yaml, line 7: isthmus:peers: [de, us]",
        "5. Look at the plan, then raise it:",
        f"     {REPOSITORY}/isthmus plan",
        "     pulumi up -s us",
    ]
    said = [f"{problem.setting} {problem.rule}" for problem in check_files(read_stack_files(tmp_path))]
    assert not [line for line in said if "overlaps" in line]


def test_from_any_folder_it_finds_the_project_above(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: isthmus\n", encoding="utf-8")
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    done = called("new", "us", "--hetzner", path=NO_PULUMI, cwd=below)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "Pulumi.us.yaml").is_file()
    assert "     k3s.sha256: what `./isthmus k3s-checksum v1.34.9+k3s1` prints" in done.stdout
    assert f"1. Go to where the stack files lie:\n     cd {tmp_path}\n" in done.stdout
    (tmp_path / "Pulumi.yaml").unlink()
    found = called("plan", cwd=tmp_path / "a").stdout
    assert "[Pulumi.us.yaml:" in found
    (tmp_path / "Pulumi.us.yaml").unlink()
    found = called("plan", cwd=below).stdout
    assert "[Pulumi.de.yaml:" in found  # of the checkout, whose blanks nobody has filled in


def test_pulumi_is_left_alone_unless_asked(tmp_path: Path) -> None:
    note, shim = tmp_path / "called", tmp_path / "bin/pulumi"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$@" >> {note}\ncat > /dev/null\n', encoding="utf-8")
    shim.chmod(0o755)
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").touch()
    path = f"{shim.parent}:/usr/bin:/bin"
    done = called("new", "us", "--hetzner", "--directory", str(project), path=path)
    assert (done.returncode, note.exists()) == (0, False)
    assert "     pulumi stack init us\n     openssl rand -hex 32 | pulumi config set" in done.stdout
    done = called("new", "kz", "--on-premise", "--init", "--directory", str(project), path=path)
    assert done.returncode == 0
    assert [line.split()[:2] for line in note.read_text().splitlines()] == [["stack", "init"], ["config", "set"]]
    assert "The stack is initialised and its clusterSecret set.\n" in done.stdout
    assert "stack init" not in done.stdout
    assert "openssl" not in done.stdout


def test_an_init_that_fails_leaves_the_file_and_says_so(tmp_path: Path) -> None:
    done = new(tmp_path, "us", "--hetzner", "--init")
    assert done.returncode == 1
    assert done.stderr == "error: Pulumi could not initialise the stack: there is no `pulumi` on PATH\n"
    assert (tmp_path / "Pulumi.us.yaml").is_file()
    assert "     pulumi stack init us\n" in done.stdout


def test_in_a_large_fleet_it_asks_whom_to_link_with(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        assert new(tmp_path, name, "--hetzner", "--peer", "us").returncode == 0
    done = new(tmp_path, "kz", "--hetzner")
    assert "isthmus:peers: []\n" in (tmp_path / "Pulumi.kz.yaml").read_text(encoding="utf-8")
    assert (
        ". Say whom it links with (nobody is chosen among more than 4):\n"
        "     isthmus:peers of Pulumi.kz.yaml, and kz in that of each of them\n"
    ) in done.stdout


def test_on_premise_with_its_lan(tmp_path: Path) -> None:
    done = new(tmp_path, "mn", "--on-premise", "--node-cidr", "192.168.7.0/24", "--peer", "de", "--peer", "us")
    assert done.returncode == 0
    content = (tmp_path / "Pulumi.mn.yaml").read_text(encoding="utf-8")
    assert "node_cidr: 192.168.7.0/24" in content
    assert "isthmus:peers: [de, us]" in content
    assert "on_premise.machines.0.address: its address, like 192.168.7.11" in done.stdout
    assert "on_premise.machines.1.address: its address, like 192.168.7.12" in done.stdout
    assert ". Make the stack files of its peers:\n     Pulumi.de.yaml\n     Pulumi.us.yaml\n" in done.stdout


@pytest.mark.parametrize("there", ["file", "dangling link", "directory"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    path = tmp_path / "Pulumi.us.yaml"
    if there == "file":
        path.write_text("config: {}\n", encoding="utf-8")
    elif there == "directory":
        path.mkdir()
    else:
        path.symlink_to("elsewhere.yaml")
    done = new(tmp_path, "us", "--hetzner")
    assert done.returncode == 1
    assert "Pulumi.us.yaml is there already, and is not overwritten; take another name." in done.stderr
    assert os.listdir(tmp_path) == ["Pulumi.us.yaml"]  # noqa: PTH208 (names, whatever they lead to)
    assert there != "file" or path.read_text(encoding="utf-8") == "config: {}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("us",), 2, "one of --hetzner and --on-premise is needed"),
        (("us", "--hetzner", "--on-premise"), 2, "one of --hetzner and --on-premise is needed"),
        (("US", "--hetzner"), 1, "US: stack US is not a stack name"),
        (("../us", "--hetzner"), 1, "stack ../us is not a stack name"),
        (
            ("us", "--on-premise", "--node-cidr", "192.168.7.1/24"),
            3,
            "has host bits set; a CIDR names the network itself",
        ),
        (("us", "--on-premise", "--node-cidr", "x"), 3, "is not an IPv4 network with a prefix length; write it like"),
        (("us", "--hetzner", "--node-cidr", "192.168.7.0/24"), 2, "--node-cidr is the LAN of machines on-premise"),
        (("us", "--on-premise", "--location", "fsn1"), 2, "--location is Hetzner's; leave it out"),
        (
            ("us", "--on-premise", "--node-cidr", "100.64.0.0/24"),
            1,
            "us: network.node_cidr 100.64.0.0/24 overlaps NetBird's range 100.64.0.0/10; its peers have",
        ),
    ],
)
def test_refused(tmp_path: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = new(tmp_path, *arguments)
    assert done.returncode == code
    assert says in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_no_directory(tmp_path: Path) -> None:
    done = new(tmp_path / "none", "us", "--hetzner")
    assert done.returncode == 3
    assert "can't be read: No such file or directory." in done.stderr


class FakePulumi:
    """Notes what it is asked; fails at the command that it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.calls: list[tuple[Sequence[str], str]] = []

    def __call__(self, arguments: Sequence[str], directory: Path, standard_input: str) -> Answer:
        self.calls.append((arguments, standard_input))
        return Answer(False, "no passphrase") if self.failing and self.failing in arguments else Answer(True)


def test_the_secret_goes_in_by_standard_input(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    pulumi = FakePulumi()
    answer = set_cluster_secret("us", tmp_path, pulumi)
    assert answer == Answer(True, initialised=True)
    (init, nothing), (setting, secret) = pulumi.calls
    assert (init[:2], nothing) == (["stack", "init"], "")
    assert setting[:2] == ["config", "set"]
    assert "--secret" in setting
    assert "clusterSecret" in setting
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in " ".join([*init, *setting])
    again = FakePulumi()
    set_cluster_secret("us", tmp_path, again)
    assert again.calls[1][1] != secret


@pytest.mark.parametrize(("failing", "initialised"), [("init", False), ("set", True)])
def test_pulumi_that_cannot(tmp_path: Path, failing: str, initialised: bool) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    answer = set_cluster_secret("us", tmp_path, FakePulumi(failing))
    assert answer == Answer(False, "no passphrase", initialised=initialised)


def test_no_project(tmp_path: Path) -> None:
    pulumi = FakePulumi()
    answer = set_cluster_secret("us", tmp_path, pulumi)
    assert answer == Answer(False, f"there is no Pulumi.yaml in {tmp_path}")
    assert pulumi.calls == []
