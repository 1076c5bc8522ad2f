"""Children that are kept running, the forwarder, and the word to the service manager."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from lab.standins.k3s import supervisor
from lab.standins.k3s.forwarder import Balancer
from lab.standins.k3s.journal import notify
from lab.standins.k3s.supervisor import Supervisor


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestProcesses:
    def test_a_component_that_ends_is_started_again_and_ends_with_the_rest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(supervisor, "CHILD_BACKOFF_SECONDS", (0.01,))
        starts = tmp_path / "starts"

        async def scenario() -> None:
            children = Supervisor()
            script = f"echo x >> {starts}; [ $(wc -l < {starts}) -ge 3 ] || exit 1; exec sleep 60"
            child = children.start("flapping", ("sh", "-c", script))
            async with asyncio.timeout(10):
                while not starts.exists() or starts.read_text().count("x") < 3:  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0.01)
            assert child.process is not None
            await children.stop()
            assert child.process.returncode is not None

        asyncio.run(scenario())
        assert starts.read_text().count("x") == 3

    def test_the_forwarder_passes_bytes_both_ways_and_the_end_of_a_stream(self) -> None:
        async def scenario() -> bytes:
            async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write((await reader.read())[::-1])
                writer.close()

            target = await asyncio.start_server(reverse, "127.0.0.1", 0)
            port = free_port()
            forwarder = Balancer(("127.0.0.1", target.sockets[0].getsockname()[1]))
            await forwarder.serve(port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(bytes(range(256)) * 4000)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            forwarder.close()
            target.close()
            return answer

        assert asyncio.run(scenario()) == (bytes(range(256)) * 4000)[::-1]

    def test_the_forwarder_closes_when_its_target_is_not_there(self) -> None:
        async def scenario() -> bytes:
            port = free_port()
            forwarder = Balancer(("127.0.0.1", free_port()))
            await forwarder.serve(port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = await reader.read()
            writer.close()
            forwarder.close()
            return answer

        assert asyncio.run(scenario()) == b""

    def test_readiness_goes_to_the_service_manager(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            notify("READY=1")
            assert manager.recv(100) == b"READY=1"
