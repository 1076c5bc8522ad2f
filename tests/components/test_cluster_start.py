"""Who may begin a cluster of several servers, and that it is once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.cluster_start import PERMIT
from tests.components.recording import Run, engine_config_of, run_program, run_stack, shared_run
from tests.components.recording import write_stack_files as write
from tests.components.several_servers import CASES, COMMAND


def run_again(directory: Path, stack: str, config: Mapping[str, Any], raised_with: Mapping[str, Any]) -> Run:
    """The program where an update before this one left these outputs."""
    write(directory, **{stack: config})
    stacks = {stack: {"raised_with": raised_with}}
    return run_program(directory, stack, engine_config_of(config), preview=False, stacks=stacks)


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
def test_one_server_needs_no_permission(stack: str) -> None:
    names = {command.name for command in shared_run(stack).some(COMMAND)}
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
