"""TCP throughput, pod to pod and on the bare tunnel, in turns: what else the machine does hits both alike."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from domain.guard import OPEN_CHAIN
from domain.overlay import router_group
from lab import machines
from lab.commands import wait_until
from lab.errors import DeadlinePassed, LabError
from lab.netbird_api import NetBirdApi
from lab.status import agent_status, peer_path, router_pods
from lab.verify.sessions import Session
from lab.verify.workload import Probes

ROUNDS: Final = 5
SECONDS: Final = 2
POD_PORT: Final = 5301
TUNNEL_PORT: Final = 5302
OPEN_DEADLINE_SECONDS: Final = 30.0
POLICY: Final = "isthmus-verify-tunnel"


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Bits per second of every run, and what went wrong."""

    pod: tuple[float, ...]
    tunnel: tuple[float, ...]
    errors: tuple[str, ...] = ()

    def with_more(self, other: Throughput) -> Throughput:
        """The runs of both."""
        return Throughput(
            pod=self.pod + other.pod, tunnel=self.tunnel + other.tunnel, errors=self.errors + other.errors
        )


def measure(source: Probes, target: Probes, sessions: tuple[Session, Session], api: NetBirdApi) -> Throughput:
    """Measures from the source's router node to the target's, with pods and without."""
    pod, tunnel, errors = [], [], []
    try:
        with open_port(api, source, target):
            for _ in range(ROUNDS):
                tunnel.append(_tunnel_run(source, target))
                pod.append(pod_run(target.pod("router").address, sessions))
    except LabError as error:
        errors.append(str(error))
    return Throughput(pod=tuple(pod), tunnel=tuple(tunnel), errors=tuple(errors))


def is_relayed(source: Probes, target: Probes) -> bool:
    """Whether the source's router reaches the target's by NetBird's relay, by what its agent says."""
    own = [pod for pod in router_pods(source.cluster) if pod["spec"]["nodeName"] == source.router.node]
    return any(peer_path(agent_status(source.cluster, pod), target.router.netbird_ip) == "relayed" for pod in own)


def pod_run(address: str, sessions: tuple[Session, Session]) -> float:
    """Bits per second from the first session's pod to the second's, which is reached by ``address``."""
    client, server = sessions
    started = server.ask("serve_iperf", port=POD_PORT)
    if not started.get("ok"):
        raise LabError(f"pod to pod: {started.get('error')}")
    answer = client.ask("iperf", address=address, port=POD_PORT, seconds=SECONDS)
    if not answer.get("ok"):
        raise LabError(f"pod to pod: {answer.get('error')}")
    return float(answer["bits_per_second"])


def _tunnel_run(source: Probes, target: Probes) -> float:
    address, port = target.router.netbird_ip, str(TUNNEL_PORT)
    with _server(target.router.node, address, port):
        done = machines.exec(
            source.router.node,
            ["iperf3", "--json", "-c", address, "-p", port, "-t", str(SECONDS), "--connect-timeout", "5000"],
            deadline_seconds=SECONDS + 15,
        )
    answer = json.loads(done.stdout or "{}")
    if done.returncode != 0 or "error" in answer:
        raise LabError(f"bare tunnel: {answer.get('error') or done.stderr.strip()}")
    return float(answer["end"]["sum_received"]["bits_per_second"])


@contextlib.contextmanager
def _server(machine: str, address: str, port: str) -> Iterator[None]:
    """An iperf3 server for one test on the machine's wt0; it listens when the block begins."""
    server = subprocess.Popen(
        machines.exec_command(machine, ["iperf3", "-s", "-1", "-B", address, "-p", port]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: f"{address}:{port}" in machines.exec(machine, ["ss", "-Hltn"]).stdout or server.poll() is not None,
            what=f"iperf3 listens on {address}:{port} of {machine}",
            deadline_seconds=5.0,
        )
        yield
    finally:
        if server.poll() is None:
            # After its one test it has ended, or is about to; a client that never came leaves it behind.
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=2)
        if server.poll() is None:
            machines.exec(machine, ["pkill", "-f", f"iperf3 -s -1 -B {address} -p {port}"])
            server.wait(timeout=5)


@contextlib.contextmanager
def open_port(api: NetBirdApi, source: Probes, target: Probes) -> Iterator[None]:
    """Lets the source's router reach the target's on the measuring port, by a policy that goes with the block."""
    groups = {group["name"]: group["id"] for group in api.list("groups")}
    names = [router_group(probes.site.name) for probes in (source, target)]
    missing = [name for name in names if name not in groups]
    if missing:
        raise LabError(f"NetBird has no group {' and no group '.join(missing)}")
    close_port(api)
    rule = {
        "name": POLICY,
        "enabled": True,
        "action": "accept",
        "bidirectional": False,
        "protocol": "tcp",
        "ports": [str(TUNNEL_PORT)],
        "sources": [groups[names[0]]],
        "destinations": [groups[names[1]]],
    }
    api.create("policies", {"name": POLICY, "enabled": True, "rules": [rule]})
    past_guard = [OPEN_CHAIN, "-p", "tcp", "--dport", str(TUNNEL_PORT), "-j", "ACCEPT"]
    machines.exec(target.router.node, ["iptables", "--wait", "-A", *past_guard])
    try:
        _wait_open(source, target)
        yield
    finally:
        machines.exec(target.router.node, ["iptables", "--wait", "-D", *past_guard])
        close_port(api)


def close_port(api: NetBirdApi) -> None:
    """Removes the policy, also one that a killed run has left."""
    for policy in api.list("policies"):
        if policy["name"] == POLICY:
            api.delete("policies", str(policy["id"]))


def _wait_open(source: Probes, target: Probes) -> None:
    """Waits until the policy has reached both agents: a refused connection has got through, a dropped one has not."""
    address = target.router.netbird_ip
    script = f"import socket; socket.create_connection(({address!r}, {TUNNEL_PORT}), timeout=1)"

    def open_now() -> bool:
        done = machines.exec(source.router.node, ["python3", "-c", script])
        return done.returncode == 0 or "ConnectionRefusedError" in done.stderr

    try:
        wait_until(
            open_now,
            what=f"NetBird lets {source.site.name}'s router reach {address}:{TUNNEL_PORT}",
            deadline_seconds=OPEN_DEADLINE_SECONDS,
            every_seconds=0.2,
        )
    except DeadlinePassed as error:
        raise LabError(f"bare tunnel: {error}") from None
