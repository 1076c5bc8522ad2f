"""join-k3s as it ships, run in a folder: which server a node joins, and when one begins a cluster. A server is there if
its certificates lie in ``servers``; the last tests ask real ones.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from domain.node_files import environment
from tests.certificates import certified
from tests.domain.moved_script import move_script, run_script
from tests.domain.samples import DE, plan_of, settings_of

SCRIPT = "join-k3s.sh"
THREE = {"hetzner.control_plane.count": 3}
SERVER_1, SERVER_2, SERVER_3 = "10.0.1.11", "10.0.1.12", "10.0.1.13"
CERTIFICATES = "-----BEGIN CERTIFICATE-----\n"

DOUBLES = {
    "curl": """
        while [ $# -gt 1 ]; do shift; done
        address=${1#https://}
        echo "${address%%:*}" >>"$ROOT/asked"
        cat "$ROOT/servers/${address%%:*}" """,
    # A round is over. What is to happen while the node waits happens now, and a wait without end is one of 20 rounds.
    "sleep": """
        echo round >>"$ROOT/rounds"
        rounds=$(wc -l <"$ROOT/rounds")
        [ ! -x "$ROOT/at/$rounds" ] || "$ROOT/at/$rounds"
        [ "$rounds" -lt 20 ] || kill $PPID""",
}


@dataclass(frozen=True)
class Machine:
    """A folder that stands for a machine of de with three servers."""

    root: Path

    def run(self, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
        for name in ("rounds", "asked"):
            (self.root / name).write_text("")
        return run_script(self.root, SCRIPT, path)

    def is_to_join(self) -> str | None:
        """What it left for k3s's settings."""
        file = self.root / "etc/config.yaml.d/10-isthmus-join.yaml"
        return file.read_text() if file.exists() else None

    def permission(self) -> Path:
        file = self.root / "start/may-start"
        file.parent.mkdir(exist_ok=True)
        return file

    def has_etcd(self) -> None:
        (self.root / "data/server/db/etcd/member/wal").mkdir(parents=True)

    def answers(self, *addresses: str) -> None:
        for address in addresses:
            (self.root / "servers" / address).write_text(CERTIFICATES)

    def at_round(self, number: int, what: str) -> None:
        file = self.root / "at" / str(number)
        file.write_text(f"#!/bin/sh\n{what}\n")
        file.chmod(0o755)

    def asked(self) -> list[str]:
        return (self.root / "asked").read_text().split()

    def rounds(self) -> int:
        return len((self.root / "rounds").read_text().split())


def machine_of(root: Path, node: int) -> Machine:
    paths = {
        "/usr/local/lib/isthmus": "lib",
        "/etc/rancher/k3s": "etc",
        "/var/lib/rancher/k3s": "data",
        "/var/lib/isthmus": "start",
    }
    move_script(root, SCRIPT, paths, DOUBLES)
    for folder in ("lib", "servers", "at"):
        (root / folder).mkdir()
    plan = plan_of("de", DE, THREE)
    (root / "lib/k3s.env").write_text(environment(plan, plan.nodes[node], settings_of("de", DE, THREE)))
    return Machine(root)


@pytest.fixture
def first(tmp_path: Path) -> Machine:
    return machine_of(tmp_path, 0)


@pytest.fixture
def agent(tmp_path: Path) -> Machine:
    return machine_of(tmp_path, 3)


def test_the_first_server_begins_the_cluster_when_it_may(first: Machine) -> None:
    first.permission().touch()
    done = first.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert first.is_to_join() == "cluster-init: true\n"
    assert first.asked() == [SERVER_2, SERVER_3] * 3, "in several rounds, and never itself"
    assert first.permission().exists(), "k3s may fail before it has data; then this is its next start"


def test_a_first_server_that_was_made_anew_joins_the_others(first: Machine) -> None:
    first.answers(SERVER_3)
    assert first.run().returncode == 0
    assert first.is_to_join() == f"server: https://{SERVER_3}:6443\n"


def test_a_first_server_that_was_made_anew_and_reaches_nobody_waits(first: Machine) -> None:
    """It would begin a second cluster beside the one that it can't reach."""
    done = first.run()
    assert first.rounds() == 20
    assert done.returncode != 0
    assert first.is_to_join() is None
    assert done.stdout == (
        "join-k3s: this node is empty and waits for a server with a cluster: 10.0.1.11 10.0.1.12 10.0.1.13\n"
    )


def test_it_joins_once_it_reaches_one(first: Machine) -> None:
    first.at_round(7, f"echo '{CERTIFICATES}' >$ROOT/servers/{SERVER_2}")
    assert first.run().returncode == 0
    assert first.rounds() == 7
    assert first.is_to_join() == f"server: https://{SERVER_2}:6443\n"


def test_the_permission_may_come_while_it_waits(first: Machine) -> None:
    first.permission()
    first.at_round(5, "touch $ROOT/start/may-start")
    assert first.run().returncode == 0
    assert first.rounds() == 7
    assert first.is_to_join() == "cluster-init: true\n"


def test_a_cluster_that_answers_counts_more_than_the_permission(first: Machine) -> None:
    first.permission().touch()
    first.answers(SERVER_2)
    assert first.run().returncode == 0
    assert first.is_to_join() == f"server: https://{SERVER_2}:6443\n"


def test_what_answers_without_certificates_is_no_server(first: Machine) -> None:
    (first.root / "servers" / SERVER_2).write_text("<html>It works!</html>\n")
    first.answers(SERVER_3)
    assert first.run().returncode == 0
    assert first.is_to_join() == f"server: https://{SERVER_3}:6443\n"


def test_a_server_with_data_starts_as_it_is(first: Machine) -> None:
    """Whoever answers, and whatever it was allowed before."""
    first.has_etcd()
    first.permission().touch()
    first.answers(SERVER_2)
    assert first.run().returncode == 0
    assert first.is_to_join() is None
    assert first.asked() == []
    assert not first.permission().exists()


def test_what_it_joined_before_its_disk_was_emptied_does_not_count(first: Machine) -> None:
    first.permission().touch()
    assert first.run().returncode == 0
    assert first.is_to_join() == "cluster-init: true\n"
    first.permission().unlink()
    first.answers(SERVER_2)
    assert first.run().returncode == 0
    assert first.is_to_join() == f"server: https://{SERVER_2}:6443\n"


def test_the_data_of_a_server_that_was_the_only_one_becomes_that_of_the_cluster(first: Machine) -> None:
    (first.root / "data/server/db").mkdir(parents=True)
    (first.root / "data/server/db/state.db").touch()
    first.answers(SERVER_2)
    assert first.run().returncode == 0
    assert first.is_to_join() == "cluster-init: true\n"
    first.has_etcd()  # k3s has taken it over
    assert first.run().returncode == 0


def test_no_other_server_and_no_agent_begins_a_cluster(tmp_path: Path) -> None:
    """They are told nothing; an agent would not even if it were."""
    (tmp_path / "2").mkdir()
    (tmp_path / "a").mkdir()
    second, agent = machine_of(tmp_path / "2", 1), machine_of(tmp_path / "a", 3)
    agent.permission().touch()
    for machine in (second, agent):
        assert machine.run().returncode != 0
        assert machine.rounds() == 20
        assert machine.is_to_join() is None


def test_an_agent_joins_any_server(agent: Machine) -> None:
    agent.answers(SERVER_2, SERVER_3)
    assert agent.run().returncode == 0
    assert agent.is_to_join() == f"server: https://{SERVER_2}:6443\n"
    # One that never got there chooses anew; one that did knows all servers, and its start asks nobody.
    (agent.root / "servers" / SERVER_2).unlink()
    assert agent.run().returncode == 0
    assert agent.is_to_join() == f"server: https://{SERVER_3}:6443\n"
    (agent.root / "data/agent/etc").mkdir(parents=True)
    (agent.root / "data/agent/etc/k3s-agent-load-balancer.json").write_text("{}\n")
    (agent.root / "servers" / SERVER_3).unlink()
    assert agent.run().returncode == 0
    assert agent.asked() == []
    assert agent.is_to_join() == f"server: https://{SERVER_3}:6443\n"


# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server on 127.0.0.1 with a certificate that nobody has signed."""
    own = certified("k3s")
    pair = tmp_path / "pair.pem"
    pair.write_bytes(own.pem)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/cacerts" else 404)
            self.end_headers()
            if self.path == "/cacerts":
                self.wfile.write(own.certificate)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("tool", ["curl", "wget", "python3"])
def test_each_of_the_three_tools_asks(first: Machine, port: int, tool: str) -> None:
    found = sys.executable if tool == "python3" else shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not on this machine")
    (first.root / "bin/curl").unlink()
    (first.root / "tools").mkdir()
    for name in ("sh", "cat", "grep", "mkdir", "mv", "wc", "rm", "timeout"):
        path = shutil.which(name)
        assert path is not None
        (first.root / "tools" / name).symlink_to(path)
    (first.root / "tools" / tool).symlink_to(found)
    text = (first.root / SCRIPT).read_text()
    (first.root / SCRIPT).write_text(text.replace(":6443/cacerts", f":{port}/cacerts"))
    env = first.root / "lib/k3s.env"
    env.write_text(env.read_text().replace(SERVER_3, "127.0.0.1").replace(SERVER_2, "127.0.0.2"))
    done = first.run(path=f"{first.root}/tools")
    assert done.returncode == 0, done.stderr
    assert first.is_to_join() == "server: https://127.0.0.1:6443\n"
