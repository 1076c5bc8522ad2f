"""A NATS supercluster over the link: a server in a pod's network of each cluster, gateways, and a stream over them.

The servers are the real nats-server, built from its Go module like the lab's tools. The publisher keeps each message
until the stream, which lies in the other cluster, has acknowledged it, and sends it again otherwise, as NATS's own
clients do; the stream takes it once by its `Nats-Msg-Id`
(https://docs.nats.io/using-nats/developer/develop_jetstream/model_deep_dive#message-deduplication).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab import machines
from lab.commands import wait_until
from lab.failover.pods import Pod
from lab.verify.workload import ProbePod
from toolchain import Recipe
from toolchain.making import ensure_recipe
from toolchain.recipes import Binary

VERSION: Final = "2.15.3"
RECIPE: Final = Recipe(
    name="nats-server",
    version=VERSION,
    module="tests/link/nats_server",
    binaries=(Binary(file="nats-server", package="github.com/nats-io/nats-server/v2"),),
)
CLIENT: Final = Path(__file__).with_name("nats_client.py")
GATEWAY_PORT: Final = 7222
PORT: Final = 4222
ROUTE_PORT: Final = 6222
"""JetStream wants a route where there are gateways; this one leads to the server itself."""
READY_SECONDS: Final = 60.0
JOINED: Final = ("Outbound gateway connection", "metadata leader")
"""What a server has written once it can be used."""
_NETWORK: Final = (
    "for network in /run/netns/cni-*; do "
    'nsenter --net="$network" ip -4 -oneline address show dev eth0 | grep -qwF "inet $1" && echo "$network"; done; true'
)


def config(name: str, peers: dict[str, str], store: Path) -> str:
    """A server of the cluster ``name``; ``peers`` are the addresses of the other clusters' servers."""
    gateways = ", ".join(
        f'{{name: {peer}, urls: ["nats://{address}:{GATEWAY_PORT}"]}}' for peer, address in peers.items()
    )
    return f"""
server_name: {name}-1
listen: 0.0.0.0:{PORT}
jetstream {{ store_dir: "{store}", max_mem: 64M, max_file: 64M }}
cluster {{ name: {name}, listen: 127.0.0.1:{ROUTE_PORT}, routes: ["nats://127.0.0.1:{ROUTE_PORT}"] }}
gateway {{ name: {name}, listen: 0.0.0.0:{GATEWAY_PORT}, gateways: [{gateways}] }}
"""


def in_network(pod: Pod | ProbePod, command: Sequence[str]) -> list[str]:
    """The command with this machine's files in the pod's network."""
    found = machines.exec(pod.node, ["sh", "-c", _NETWORK, "network", pod.address], check=True).stdout.split()
    if len(found) != 1:
        raise RuntimeError(f"{len(found)} networks on {pod.node} have {pod.address}")
    return ["nsenter", f"--net=/proc/{machines.init_pid(pod.node)}/root{found[0]}", *command]


def said(log: Path) -> str:
    """What a server has written; nothing yet at its start."""
    return log.read_text(encoding="utf-8") if log.exists() else ""


@contextlib.contextmanager
def supercluster(pods: dict[str, Pod], directory: Path) -> Iterator[None]:
    """A server in each of these pods' networks, by cluster; joined when the block begins."""
    binary = ensure_recipe(RECIPE) / "nats-server"
    with contextlib.ExitStack() as stack:
        logs = {}
        for name, pod in pods.items():
            peers = {peer: other.address for peer, other in pods.items() if peer != name}
            file = directory / f"{name}.conf"
            file.write_text(config(name, peers, directory / name))
            logs[name] = directory / f"{name}.log"
            command = in_network(pod, [str(binary), "--config", str(file), "--log", str(logs[name])])
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        for name, log in logs.items():
            wait_until(
                lambda log=log: all(word in said(log) for word in JOINED),  # type: ignore[misc]
                what=f"NATS's server of {name} is joined with the other one",
                deadline_seconds=READY_SECONDS,
                state=lambda log=log: said(log)[-1000:],  # type: ignore[misc]
            )
        yield


@dataclass
class Client:
    """A client of the server in a pod's network, which tells what it does."""

    pod: Pod
    role: str
    times: dict[int, float] = field(default_factory=dict)
    """When a message was acknowledged, or came for the first time, by its number."""
    sent: int = 0
    stored: int = -1
    """How many messages the stream has, told at the end."""

    def __enter__(self) -> Client:
        self._process = subprocess.Popen(
            in_network(self.pod, [sys.executable, "-S", "-u", str(CLIENT), self.role, str(PORT)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            for number, moment in told["times"]:
                self.times.setdefault(number, moment)
            self.sent = told.get("sent", self.sent)
            self.stored = told.get("stored", self.stored)

    def end(self) -> None:
        """Lets it come to its end: the publisher sends nothing new and waits for what is not acknowledged yet."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._reader.join()

    def __exit__(self, *_: object) -> None:
        try:
            self.end()
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
