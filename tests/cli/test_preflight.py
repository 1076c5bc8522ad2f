"""`./isthmus preflight` where no machine can be asked, and what a login in vain means. With machines: tests/lab."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from domain.places.on_premise.model import Machine, SshSettings
from preflight.asking import why_not_asked
from tests.cli.test_plan import called
from tests.domain.samples import DE, GIVEN, HOST_KEYS, MN, changed, text

MACHINE = Machine(name="mn-1", address=IPv4Address("192.168.7.11"), role="server", host_key=HOST_KEYS[0])
DENIED = "mn@192.168.7.11: Permission denied (publickey)."
IMPOSTOR = "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed."


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: isthmus\nruntime: python\n", encoding="utf-8")
    for name, config in (
        ("de", DE),
        ("mn", MN),
        ("kz", changed(GIVEN, {"peers": [], "network.dns_zone": "kz.internal"})),
    ):
        (tmp_path / f"Pulumi.{name}.yaml").write_text(text(config), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("code", "complaint", "rule", "fix"),
    [
        (255, DENIED, "does not let root in with the key of the stack", "add its public half to ~root/.ssh/"),
        (255, IMPOSTOR, "is not the machine at 192.168.7.11, port 22 that host_key names", "compare with `ssh-keyscan"),
        (255, 'Load key "k": invalid format\n' + DENIED, "does not let root in", "add its public half"),
        (255, "ssh: connect to host 192.168.7.11 port 22: Connection refused", "can't be reached over SSH", "start it"),
        (255, 'Load key "k": error in libcrypto', "was not asked: the SSH key can't be read", "set it anew"),
        (
            127,
            "sh: not found",
            "did not say what it is: sh: not found",
            "log in and see: `ssh -p 22 root@192.168.7.11`",
        ),
        (255, "", "can't be reached over SSH at 192.168.7.11, port 22: ssh ended with code 255", "start it"),
    ],
)
def test_a_login_in_vain(code: int, complaint: str, rule: str, fix: str) -> None:
    told = why_not_asked(MACHINE, SshSettings(), code, complaint)
    assert told[0].startswith(rule)
    assert told[1].startswith(fix)


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        ("de", "de makes its machines at Hetzner itself; there is nothing to look at over SSH."),
        ("kz", "kz is given by its kubeconfig; `pulumi preview -s kz` looks at that cluster."),
        ("fr", "there is no Pulumi.fr.yaml in {directory}; stacks there: de, kz, mn."),
        ("mn", "there is no `pulumi` on PATH, which keeps the SSH key; name the key's file with --key."),
    ],
)
def test_what_can_not_be_tried(directory: Path, stack: str, said: str) -> None:
    done = called("preflight", stack, "--directory", str(directory), "--json", variables={"PATH": "/nowhere"})
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout) == {"error": said.format(directory=directory)}


def test_no_file_of_that_name(directory: Path) -> None:
    done = called("preflight", "mn", "--directory", str(directory), "--key", "nothing")
    assert done.returncode == 3
    assert "there is no file nothing; --key names the file of the SSH private key." in done.stderr


def test_stack_files_with_a_mistake_are_told_first(directory: Path) -> None:
    (directory / "Pulumi.mn.yaml").write_text(text(changed(MN, {"network.pod_cidr": "x"})), encoding="utf-8")
    done = called("preflight", "mn", "--directory", str(directory), "--json")
    assert done.returncode == 1
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["setting"] == "network.pod_cidr"
