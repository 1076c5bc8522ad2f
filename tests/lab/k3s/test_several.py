"""What servers of several have that one alone has not: the front of port 6443, the balancer, passwords, members.

How they work together is tried on machines, in tests/lab/test_k3s_servers.py.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.standins.k3s import etcd, forwarder, front, membership, passwords
from lab.standins.k3s.arguments import etcd_member_arguments
from lab.standins.k3s.certificates import Certificates
from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.etcd import Etcd, Member
from lab.standins.k3s.forwarder import Balancer
from lab.standins.k3s.front import Front, speaks_to_kubernetes
from tests.lab.k3s.samples import server_settings
from tests.lab.k3s.test_processes import free_port


def hello(*, name: str | None, protocols: list[str] | None) -> bytes:
    """The first record of a client of Python's, as curl's and Go's look."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class TestFront:
    @pytest.mark.parametrize(
        ("name", "protocols", "kubernetes"),
        [
            (None, None, False),
            (None, ["http/1.1"], False),
            ("10.0.1.11", None, False),
            (None, ["h2", "http/1.1"], True),
            ("kubernetes.default.svc", None, True),
            ("kubernetes.default.svc", ["http/1.1"], True),
        ],
    )
    def test_whom_a_client_means(self, name: str | None, protocols: list[str] | None, kubernetes: bool) -> None:
        assert speaks_to_kubernetes(hello(name=name, protocols=protocols)) is kubernetes

    def test_what_is_no_tls(self) -> None:
        with pytest.raises(ValueError, match="no ClientHello"):
            speaks_to_kubernetes(b"GET /cacerts HTTP/1.1\r\n\r\n")

    def test_certificates_for_anybody_and_the_rest_for_the_api(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificates = Certificates(server_settings(), tmp_path)
        pair = certificates.serving("api", "kube-apiserver", ("127.0.0.1", "kubernetes.default.svc"))
        port, internal = free_port(), free_port()
        monkeypatch.setattr(front, "INTERNAL_API_PORT", internal)
        trusting = ssl.create_default_context(cafile=str(certificates.server_ca_path))

        heard: list[bytes] = []

        async def ask(path: str, server_name: str | None, header: str = "X: y") -> str:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusting, server_hostname=server_name or "127.0.0.1"
            )
            lines = (f"GET {path} HTTP/1.1", "Host: x", header, "", "")
            writer.write("\r\n".join(lines).encode())
            answer = (await asyncio.wait_for(reader.read(65536), 10)).decode()
            writer.close()
            return answer

        async def scenario() -> list[str]:
            async def api(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                heard.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nthe API")
                await writer.drain()
                writer.close()

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            server = await asyncio.start_server(api, "127.0.0.1", internal, ssl=context)
            front_ = Front(certificates.server_ca_path, pair)
            front_.listen("127.0.0.1", port)
            asked: list[tuple[str, str | None]] = [
                ("/cacerts", None),
                ("/ping", None),
                ("/v1-k3s/config", None),
                ("/cacerts", "kubernetes.default.svc"),
            ]
            answers = [await ask(*request) for request in asked]
            answers.append(await ask("/api/v1/nodes/a", None, "Authorization: Bearer x"))
            front_.close()
            server.close()
            return answers

        cacerts, ping, config, kubernetes, keeper = asyncio.run(scenario())
        assert cacerts.startswith("HTTP/1.1 200 OK\r\n")
        assert cacerts.endswith(certificates.server_ca_path.read_text())
        assert ping.endswith("\r\n\r\npong")
        assert config.startswith("HTTP/1.1 401 ")
        assert kubernetes.endswith("the API")
        assert keeper.endswith("the API")
        assert heard[-1].startswith(b"GET /api/v1/nodes/a HTTP/1.1\r\n")

    def test_a_connection_that_could_not_be_taken_is_not_the_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificates = Certificates(server_settings(), tmp_path)
        pair = certificates.serving("api", "kube-apiserver", ("127.0.0.1",))
        port = free_port()
        trusting = ssl.create_default_context(cafile=str(certificates.server_ca_path))
        refusals = [OSError(errno.ECONNABORTED, "gone"), OSError(errno.EMFILE, "too many")]

        async def scenario() -> bytes:
            loop = asyncio.get_running_loop()
            accept = loop.sock_accept

            async def short_of_descriptors(listening: socket.socket) -> tuple[socket.socket, object]:
                if refusals:
                    raise refusals.pop()
                return await accept(listening)

            monkeypatch.setattr(loop, "sock_accept", short_of_descriptors)
            front_ = Front(certificates.server_ca_path, pair)
            front_.listen("127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(65536), 10)
            writer.close()
            front_.close()
            return answer

        assert asyncio.run(scenario()).endswith(b"\r\n\r\npong")
        assert refusals == []


class TestBalancer:
    def test_it_learns_the_servers_and_knows_them_after_a_restart(self, tmp_path: Path) -> None:
        file = tmp_path / "balancer.json"
        balancer = Balancer(("10.0.1.11", 6443), file)
        assert list(balancer.servers) == [("10.0.1.11", 6443)]
        balancer.learn(["10.0.1.12", "10.0.1.11"])
        assert list(balancer.servers) == [("10.0.1.11", 6443), ("10.0.1.12", 6443)]
        assert json.loads(file.read_text()) == {
            "ServerURL": "https://10.0.1.11:6443",
            "ServerAddresses": ["10.0.1.12:6443", "10.0.1.11:6443"],
        }
        assert set(Balancer(("10.0.1.11", 6443), file).servers) == {("10.0.1.11", 6443), ("10.0.1.12", 6443)}
        # Given another server since, k3s begins with that one alone.
        assert Balancer(("10.0.1.13", 6443), file).servers == (("10.0.1.13", 6443),)
        balancer.learn([])
        assert len(balancer.servers) == 2, "no endpoints for a moment are not no servers"

    def test_connections_to_a_server_that_is_gone_are_closed_and_the_next_go_elsewhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(forwarder, "PROBE_SECONDS", 0.05)

        async def scenario() -> tuple[bytes, bytes, bytes]:
            async def says(text: bytes, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(text)
                await writer.drain()

            first = await asyncio.start_server(lambda r, w: says(b"1", r, w), "127.0.0.1", 0)
            second = await asyncio.start_server(lambda r, w: says(b"2", r, w), "127.0.0.1", 0)
            ports = [server.sockets[0].getsockname()[1] for server in (first, second)]
            port = free_port()
            balancer = Balancer(("127.0.0.1", ports[0]), tmp_path / "balancer.json")
            balancer._servers.append(("127.0.0.1", ports[1]))
            await balancer.serve(port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            before = await reader.readexactly(1)
            first.close()
            ended = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            after = await reader.readexactly(1)
            writer.close()
            balancer.close()
            second.close()
            return before, ended, after

        assert asyncio.run(scenario()) == (b"1", b"", b"2")


class TestPasswords:
    def test_a_node_keeps_the_password_that_it_has(self, tmp_path: Path) -> None:
        file = tmp_path / "node/password"
        made = passwords.node_password(file)
        assert len(made) == 32
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert passwords.node_password(file) == made
        file.write_text("given\n")
        assert passwords.node_password(file) == "given"

    def test_the_cluster_keeps_a_hash(self) -> None:
        kept = passwords.hash_of("a password", b"12345678")
        assert kept.startswith("$1:3132333435363738:")
        assert "a password" not in kept
        assert passwords.matches("a password", kept)
        assert not passwords.matches("another", kept)


class TestMembers:
    def test_arguments_of_a_member(self, tmp_path: Path) -> None:
        files = Certificates(server_settings(), tmp_path).etcd_member()
        member = etcd.EtcdMember("de-server-1-0a1b2c3d", "10.0.1.10", "x=https://10.0.1.10:2380", joins=True)
        arguments = etcd_member_arguments(tmp_path, files, member, ["quota-backend-bytes=1"])
        for expected in (
            "--name=de-server-1-0a1b2c3d",
            "--listen-peer-urls=https://10.0.1.10:2380",
            "--initial-cluster=x=https://10.0.1.10:2380",
            "--initial-cluster-state=existing",
            "--client-cert-auth",
            "--peer-client-cert-auth",
            "--quota-backend-bytes=1",
        ):
            assert expected in arguments
        assert not [argument for argument in arguments if argument.startswith("--listen") and "http://" in argument]

    @pytest.mark.parametrize(
        ("members", "added"),
        [
            ([Member("1", "a-00000001", ("https://10.0.1.1:2380",), False)], ["https://10.0.1.2:2380"]),
            (
                [
                    Member("1", "a-00000001", ("https://10.0.1.1:2380",), False),
                    Member("2", "", ("https://10.0.1.2:2380",), True),  # of a run that was cut off
                ],
                [],
            ),
        ],
    )
    def test_joining(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[Member], added: list[str]
    ) -> None:
        monkeypatch.setattr(etcd, "ETCD_DIR", tmp_path)
        asked: list[str] = []

        class Played(Etcd):
            def __init__(self) -> None:
                pass

            def members(self) -> list[Member]:
                return members

            def add_learner(self, peer_url: str) -> None:
                asked.append(peer_url)

        made = etcd.joined(Played(), "b", "10.0.1.2")
        assert asked == added
        assert made.joins
        assert made.name == (tmp_path / "name").read_text()
        assert made.name.startswith("b-")
        assert made.initial_cluster == f"a-00000001=https://10.0.1.1:2380,{made.name}=https://10.0.1.2:2380"

        members.append(Member("3", "b-0000000f", ("https://10.0.1.2:2380",), False))
        with pytest.raises(StandInError, match="duplicate node name found"):
            etcd.joined(Played(), "b", "10.0.1.2")

    def test_what_servers_share_is_that_of_the_first_who_left_it(self) -> None:
        kept: dict[str, bytes] = {}

        class Played(Etcd):
            def __init__(self) -> None:
                pass

            def get(self, key: str) -> bytes | None:
                return kept.get(key)

            def put(self, key: str, value: bytes) -> None:
                kept[key] = value

        etcd.share(Played(), b"first")
        etcd.share(Played(), b"second")
        assert kept == {etcd.BOOTSTRAP_KEY: b"first"}

    def test_data_of_one_server_alone_is_no_cluster(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(etcd, "ETCD_DIR", tmp_path)
        assert not etcd.has_data()
        (tmp_path / "member/wal").mkdir(parents=True)
        assert etcd.has_data()
        assert not etcd.in_a_cluster()
        etcd.new_name("a")
        assert etcd.in_a_cluster()


class TestVotes:
    """What the leader says of members on their Nodes."""

    @staticmethod
    def node(name: str, address: str, voter: str = "") -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": "True"}]
        conditions += [{"type": membership.VOTER_CONDITION, "status": voter}] if voter else []
        annotations = {membership.ADDRESS_ANNOTATION: address} if address else {}
        return {"metadata": {"name": name, "annotations": annotations}, "status": {"conditions": conditions}}

    def test_each_has_its_own_and_is_told_once(self) -> None:
        class PlayedApi:
            def __init__(self) -> None:
                self.said: dict[str, str] = {}

            def request(self, method: str, path: str, body: Mapping[str, Any], content_type: str) -> dict[str, Any]:
                assert (method, content_type) == ("PATCH", "application/strategic-merge-patch+json")
                (condition,) = body["status"]["conditions"]
                assert condition["type"] == "EtcdIsVoter"
                self.said[path] = condition["status"]
                return {}

        class PlayedEtcd(Etcd):
            def __init__(self) -> None:
                pass

            def leads(self) -> bool:
                return True

            def members(self) -> list[Member]:
                return [
                    Member("1", "a-00000001", ("https://10.0.1.1:2380",), False),
                    Member("2", "b-00000001", ("https://10.0.1.2:2380",), True),
                    Member("3", "c-00000001", ("https://10.0.1.3:2380",), False),
                    Member("4", "d-00000001", ("https://10.0.1.4:2380",), False),
                ]

            def promote(self, member: Member) -> None:
                assert member.name == "b-00000001"

        api: Any = PlayedApi()
        nodes: list[Mapping[str, Any]] = [
            self.node("a", "10.0.1.1"),
            self.node("b", "10.0.1.2", "True"),
            self.node("c", "10.0.1.3", "True"),
            self.node("d", "10.0.1.4", "False"),
            self.node("agent", ""),
            self.node("gone", "10.0.1.9"),
        ]
        membership.Nodes(api, PlayedEtcd(), coredns=False)._members(nodes, promote=True)
        assert api.said == {
            "/api/v1/nodes/a/status": "True",
            "/api/v1/nodes/b/status": "False",
            "/api/v1/nodes/d/status": "True",
        }


def test_the_socket_is_left_as_it_was_found() -> None:
    """What is looked at of a connection is still there for whoever serves it."""

    async def scenario() -> tuple[bytes, bytes]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            record = hello(name=None, protocols=None)
            theirs.sendall(record[:7])
            looking = asyncio.create_task(front._first_record(ours))
            await asyncio.sleep(0)
            theirs.sendall(record[7:])
            seen = await looking
            ours.setblocking(True)
            return seen, ours.recv(len(record))

    seen, received = asyncio.run(scenario())
    assert seen == received
