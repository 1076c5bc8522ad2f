"""What an `up` does with machines that are to become nodes; the machines are played by a client that says their facts.
With machines and OpenSSH: tests/lab/test_preflight_machines.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.configuration import StackConfiguration
from components.machine_preflight import SKIP, refuse_unfit_machines
from domain.fleet import parse_fleet
from tests.domain.samples import DE, MN, SSH_PRIVATE_KEY, settings_of, text
from tests.domain.test_preflight import AGENT, SERVER, said

CLIENT = """\
#!/bin/sh
# Plays ssh: the facts of the machine of that address, or its complaint and ssh's exit code.
while [ "$1" != -- ]; do
    [ "$1" != -i ] || [ "$(head -n 1 "$2")" = "-----BEGIN OPENSSH PRIVATE KEY-----" ] || exit 97
    shift
done
cat > /dev/null
echo "$2" >> {directory}/asked
[ ! -e "{directory}/$2.failed" ] || { cat "{directory}/$2.failed" >&2; exit 255; }
cat "{directory}/$2"
"""


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "machines"
    directory.mkdir()
    client = tmp_path / "bin" / "ssh"
    client.parent.mkdir()
    client.write_text(CLIENT.replace("{directory}", str(directory)), encoding="utf-8")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:/usr/bin:/bin")
    for machine in (SERVER, AGENT):
        (directory / str(machine.address)).write_text(said(machine), encoding="utf-8")
    return directory


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lambda message, *_: told.append(message))
    monkeypatch.setattr(pulumi.log, "warn", lambda message, *_: told.append(f"warning: {message}"))
    return told


def look(config: Mapping[str, Any] = MN, outputs: Mapping[str, Any] | None = None, stack: str = "mn") -> None:
    fleet = parse_fleet({"de": text(DE), "mn": text(MN)})
    values = {"isthmus:sshPrivateKey": SSH_PRIVATE_KEY}
    asyncio.run(refuse_unfit_machines(StackConfiguration(settings_of(stack, config), fleet, values, outputs or {})))


def asked(machines: Path) -> list[str]:
    return sorted((machines / "asked").read_text().split()) if (machines / "asked").exists() else []


def test_machines_in_order_are_looked_at_and_let_through(machines: Path, logged: list[str]) -> None:
    look()
    assert logged == ["mn: looking at mn-1, mn-2 before anything is changed there"]
    assert asked(machines) == ["192.168.7.11", "192.168.7.12"]


def test_all_that_is_wrong_is_refused_at_once(machines: Path, logged: list[str]) -> None:
    (machines / "192.168.7.11").write_text(said(SERVER, "architecture aarch64"), encoding="utf-8")
    (machines / "192.168.7.12.failed").write_text("Permission denied (publickey).\n", encoding="utf-8")
    with pytest.raises(pulumi.RunError) as refused:
        look()
    heading, first, second = str(refused.value).splitlines()
    assert heading == "2 problems with the machines; nothing was changed:"
    assert first == (
        "mn: on_premise.machines.0 mn-1 is aarch64, and k3s.sha256 is the checksum of the binary for x86_64; take "
        "another machine. [Pulumi.mn.yaml:11]"
    )
    assert second == (
        "mn: on_premise.machines.1 mn-2 does not let root in with the key of the stack; add its public half to "
        "~root/.ssh/authorized_keys there. [Pulumi.mn.yaml:15]"
    )
    assert SSH_PRIVATE_KEY.splitlines()[1] not in str(refused.value)


def test_nodes_are_left_alone_and_a_new_machine_beside_them_is_looked_at(machines: Path, logged: list[str]) -> None:
    (machines / "192.168.7.11").write_text(said(SERVER, "architecture aarch64"), encoding="utf-8")
    look(outputs={"node_ips": {"mn-1": "192.168.7.11", "mn-2": "192.168.7.12"}})
    assert (asked(machines), logged) == ([], [])
    look(outputs={"node_ips": {"mn-1": "192.168.7.11"}})
    assert logged == ["mn: looking at mn-2 before anything is changed there"]


def test_a_machine_that_can_not_be_reached_is_waited_for_later(machines: Path, logged: list[str]) -> None:
    (machines / "192.168.7.12.failed").write_text("ssh: connect to host 192.168.7.12 port 22: No route to host\n")
    # Nothing of it reaches the others either.
    (machines / "192.168.7.11").write_text(said(SERVER, "silent 192.168.7.12:10250"), encoding="utf-8")
    look()
    assert asked(machines) == ["192.168.7.11", "192.168.7.12"]


def test_a_node_that_is_away_keeps_no_new_machine_out(machines: Path, logged: list[str]) -> None:
    (machines / "192.168.7.11.failed").write_text("ssh: connect to host 192.168.7.11 port 22: No route to host\n")
    (machines / "192.168.7.12").write_text(said(AGENT, "silent 192.168.7.11:10250"), encoding="utf-8")
    look(outputs={"node_ips": {"mn-1": "192.168.7.11"}})
    assert logged == ["mn: looking at mn-2 before anything is changed there"]


def test_silence_of_a_machine_that_answers_is_refused(machines: Path, logged: list[str]) -> None:
    (machines / "192.168.7.11").write_text(said(SERVER, "silent 192.168.7.12:10250"), encoding="utf-8")
    with pytest.raises(pulumi.RunError, match="mn-1 gets no answer from mn-2 on TCP port 10250"):
        look()


def test_remarks_are_warnings(machines: Path, logged: list[str]) -> None:
    (machines / "192.168.7.11").write_text(said(SERVER, "unit NetworkManager"), encoding="utf-8")
    look()
    assert [line.startswith("warning: mn-1: NetworkManager takes over") for line in logged] == [False, True]


def test_without_a_client_it_is_said_and_goes_on(logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    look()
    assert logged[1:] == [
        "warning: mn: the machines were not looked at: there is no `ssh` on PATH (the package openssh-client)"
    ]


def test_who_wants_no_look_gets_none(machines: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    monkeypatch.setenv(SKIP, "1")
    look()
    assert (asked(machines), logged) == ([], [])


def test_a_stack_at_hetzner_has_no_machines_to_look_at(machines: Path, logged: list[str]) -> None:
    look(DE, stack="de")
    assert (asked(machines), logged) == ([], [])
