"""Clusters of several servers: in which order machines are made and changed, who may begin the cluster, and by which
server it is reached.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from components.cluster import that_answers
from components.cluster_start import PERMIT
from components.engine import MOCKS
from tests.components.recording import Run, engine_config_of, program, run, run_stack
from tests.components.recording import write_stack_files as write
from tests.domain.samples import DE, HOST_KEYS, MN, changed

AT_HETZNER: Final = changed(DE, {"hetzner.control_plane.count": 3, "hetzner.workers.count": 2})
OVER_SSH: Final = changed(
    MN,
    {
        "on_premise.machines": [
            {"name": f"s-{number}", "address": f"192.168.7.{number}", "role": "server", "host_key": HOST_KEYS[0]}
            for number in (1, 2, 3)
        ]
        + [
            {"name": f"mn-{number}", "address": f"192.168.7.1{number}", "role": "agent", "host_key": HOST_KEYS[0]}
            | ({"router": True} if number == 2 else {})
            for number in (2, 3, 4, 5)
        ]
    },
)
CASES: Final = [
    pytest.param("de", AT_HETZNER, "de-server-1", id="hetzner"),
    pytest.param("mn", OVER_SSH, "s-1", id="on-premise"),
]
COMMAND: Final = "command:remote:Command"


def run_again(directory: Path, stack: str, config: Mapping[str, Any], raised_with: Mapping[str, Any]) -> Run:
    """The program where an update before this one left these outputs."""
    write(directory, **{stack: config})
    module = program()
    return run(
        lambda: module.main(directory=directory, engine=MOCKS),
        stack=stack,
        config=engine_config_of(config),
        preview=False,
        stacks={stack: {"raised_with": raised_with}},
    )


# --- one after the other ----------------------------------------------------------------------------------------------


def test_servers_at_hetzner_are_changed_one_after_the_other(tmp_path: Path) -> None:
    """A changed type switches a server off, and etcd needs two of three."""
    found = run_stack(tmp_path, "de", config=AT_HETZNER)
    after = {
        server.name: {name for name in server.depends_on if name.startswith("de-")}
        for server in found.some("hcloud:index/server:Server")
    }
    assert after == {
        "de-server-1": set(),
        "de-server-2": {"de-server-1"},
        "de-server-3": {"de-server-2"},
        "de-agent-1": set(),
        "de-agent-2": {"de-agent-1"},
    }


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


# --- who may begin ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "config", "server"), CASES)
def test_the_first_server_may_begin_the_cluster_once(
    tmp_path: Path, stack: str, config: dict[str, Any], server: str
) -> None:
    found = run_stack(tmp_path, stack, config=config)
    start = found.one(COMMAND, "machines-start")
    assert start.inputs["create"] == PERMIT
    assert start.inputs["update"] == ":", "a new connection permits nothing"
    assert "create" in start.ignore_changes, "what is so once a cluster runs changes nothing"
    assert {"triggers", "delete"}.isdisjoint(start.inputs)
    host = start.inputs["connection"]["hostKey"]
    if stack == "de":
        assert server in start.depends_on
        assert host == found.one(COMMAND, "machines-kubeconfig").inputs["connection"]["hostKey"]
        assert "machines-start" in found.one(COMMAND, "machines-kubeconfig").depends_on
    else:
        assert start.inputs["connection"]["host"] == "192.168.7.1"


@pytest.mark.parametrize(("stack", "config", "server"), CASES)
def test_no_server_may_where_a_cluster_runs_already(
    tmp_path: Path, stack: str, config: dict[str, Any], server: str
) -> None:
    """Of a stack that was raised before there was a permission: its state has none."""
    access = "hetzner" if stack == "de" else "ssh"
    start = run_again(tmp_path, stack, config, {"access": access, "servers": [server]}).one(COMMAND, "machines-start")
    assert start.inputs["create"] == ":"


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_one_server_needs_no_permission(tmp_path: Path, stack: str) -> None:
    names = {command.name for command in run_stack(tmp_path, stack).some(COMMAND)}
    assert "machines-kubeconfig" in names
    assert "machines-start" not in names


@pytest.mark.parametrize("theirs", [False, True])
def test_the_permission_on_a_machine(tmp_path: Path, theirs: bool) -> None:
    if theirs:
        (tmp_path / "etc/rancher/k3s").mkdir(parents=True)
    command = re.sub(r"/(usr|etc|var)/", rf"{tmp_path}/\1/", PERMIT)
    subprocess.run(["sh", "-eu", "-c", command], check=True)
    assert (tmp_path / "var/lib/isthmus/may-start").exists() is not theirs
    if theirs:
        assert [path.name for path in tmp_path.iterdir()] == ["etc"]
        (tmp_path / "usr/local/lib/isthmus").mkdir(parents=True)  # it is a machine of ours
        subprocess.run(["sh", "-eu", "-c", command], check=True)
        assert (tmp_path / "var/lib/isthmus/may-start").exists()


# --- by which server --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "config", "server"), CASES)
def test_a_server_that_is_made_anew_takes_no_kubeconfig_along(
    tmp_path: Path, stack: str, config: dict[str, Any], server: str
) -> None:
    """With a dependency the engine would fetch it anew, from a server that is empty and joins the others."""
    fetched = run_stack(tmp_path, stack, config=config).one(COMMAND, "machines-kubeconfig")
    assert fetched.inputs["triggers"] == [stack]
    assert fetched.ignore_changes == ("triggers",)


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_the_only_server_made_anew_is_a_new_cluster(tmp_path: Path, stack: str) -> None:
    fetched = run_stack(tmp_path, stack).one(COMMAND, "machines-kubeconfig")
    assert fetched.inputs["triggers"] != [stack]
    assert fetched.ignore_changes == ()


def test_the_first_address_that_answers() -> None:
    with socket.socket() as listening, socket.socket() as other:
        listening.bind(("127.0.0.3", 0))
        listening.listen()
        port = listening.getsockname()[1]
        addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]
        assert asyncio.run(that_answers(addresses, port)) == "127.0.0.3"
        other.bind(("127.0.0.2", port))
        other.listen()
        assert asyncio.run(that_answers(addresses, port)) == "127.0.0.2", "the order counts, not who is quicker"
        assert asyncio.run(that_answers(["127.0.0.1", "127.0.0.4"], port)) == "127.0.0.1", "nobody does"
        assert asyncio.run(that_answers(["127.0.0.4"], port)) == "127.0.0.4"
