"""The command line of `k3s`: runs a node, or becomes a client program with the node's credentials."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.layout import ADMIN_KUBECONFIG, CONFIG_FILE, CONTAINERD_SOCKET, PATH, PROGRAMS, VERSION
from lab.standins.k3s.node import run_node
from lab.standins.k3s.settings import default_address, parse_settings, read_config


def missing_programs(role: str) -> list[str]:
    """What the machine lacks, as paths or names."""
    names = ["kubelet"]
    if role == "server":
        names += ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"]
    missing = [str(PROGRAMS / name) for name in names if not os.access(PROGRAMS / name, os.X_OK)]
    distribution = ("containerd", "containerd-shim-runc-v2", "runc")
    return missing + [name for name in distribution if shutil.which(name, path=PATH) is None]


def replace_process(program: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """Become another program."""
    env = {**os.environ, "PATH": os.environ.get("PATH", PATH), **(environment or {})}
    try:
        os.execvpe(program, [program, *arguments], env)
    except FileNotFoundError:
        raise StandInError(f"{program} is not on this machine") from None


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    called = Path(argv[0]).name
    arguments = list(argv[1:]) if called not in ("kubectl", "ctr") else [called, *argv[1:]]
    command = arguments[0] if arguments else ""
    if command in ("--version", "-v"):
        print(f"k3s version {VERSION} (stand-in)")
        return 0
    if command == "kubectl":
        environment = {} if os.environ.get("KUBECONFIG") else {"KUBECONFIG": str(ADMIN_KUBECONFIG)}
        replace_process(str(PROGRAMS / "kubectl"), arguments[1:], environment)
    if command == "ctr":
        replace_process("ctr", ["--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io", *arguments[1:]])
    if command not in ("server", "agent"):
        raise StandInError(f"unknown command {command or '(none)'}: server, agent, kubectl, ctr or --version")
    options = arguments[1:]
    config_file = CONFIG_FILE
    if len(options) == 2 and options[0] in ("--config", "-c"):
        config_file = Path(options[1])
    elif len(options) == 1 and options[0].startswith("--config="):
        config_file = Path(options[0].partition("=")[2])
    elif options:
        raise StandInError(f"unknown flag {options[0]}: this stand-in takes --config FILE only")
    settings = parse_settings(command, read_config(config_file), socket.gethostname(), default_address())
    missing = missing_programs(command)
    if missing:
        raise StandInError(f"missing on this machine: {', '.join(missing)}")
    asyncio.run(run_node(settings))
    return 0


def run(argv: Sequence[str]) -> int:
    """:func:`main`, with a refusal as one line on stderr and code 1."""
    try:
        return main(argv)
    except StandInError as problem:
        print(f'level=fatal msg="{problem}"', file=sys.stderr)
        return 1
