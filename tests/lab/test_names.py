"""What `benchmark names` makes of what it measured, and the names that it asks for."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.names import tables
from lab.names import Names, Rates, as_data, manifests, passed
from lab.verify.sessions import AGENT
from lab.verify.throughput import POD_PORT

RATES = Rates("de", "mn", 5, pod=2e9, cluster_ip=1.9e9)
NAMES = Names("de", "mn", "other", 200, local_ms=1.0, remote_ms=3.2, trip_ms=2.0)


def test_a_ratio_and_a_limit_themselves_pass_and_more_fails() -> None:
    assert RATES.ratio == pytest.approx(0.95)
    assert RATES.passed
    assert not Rates("de", "mn", 5, pod=2e9, cluster_ip=1.89e9).passed
    assert NAMES.limit_ms == pytest.approx(3.2)
    assert NAMES.passed
    assert not Names("de", "mn", "other", 200, local_ms=1.0, remote_ms=3.21, trip_ms=2.0).passed


def test_nothing_measured_is_no_pass() -> None:
    assert passed([RATES], [NAMES])
    assert not passed([], [NAMES])
    assert not passed([RATES], [])


def test_json_has_what_was_judged() -> None:
    found = json.loads(json.dumps(as_data([RATES], [NAMES])))
    assert found["passed"] is True
    assert found["throughput"][0]["at_least"] == 0.95
    assert found["names"][0] == {
        "source": "de",
        "target": "mn",
        "placement": "other",
        "runs": 200,
        "passed": True,
        "local_ms": 1.0,
        "remote_ms": 3.2,
        "trip_ms": 2.0,
        "limit_ms": pytest.approx(3.2),
    }


def test_a_line_for_each_row() -> None:
    throughput, names = tables([RATES], [NAMES])
    assert (throughput.row_count, names.row_count) == (1, 1)


def test_there_are_as_many_names_as_questions_and_none_has_a_real_address() -> None:
    _, slice_, iperf = manifests(400)
    names = [endpoint["hostname"] for endpoint in slice_["endpoints"]]
    addresses = [endpoint["addresses"][0] for endpoint in slice_["endpoints"]]
    assert len(set(names)) == len(set(addresses)) == 400
    assert all(address.startswith("198.18.") for address in addresses)
    assert iperf["spec"]["ports"][0]["port"] == POD_PORT
    with pytest.raises(ValueError, match="1001 endpoints; a slice has at most 1000"):
        manifests(1001)


# --- the agent's own questions ----------------------------------------------------------------------------------------


@contextmanager
def dns_server(answer: bytes) -> Iterator[int]:
    """Answers one datagram on a loopback address with this, behind the question's number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            question, asker = server.recvfrom(512)
            server.sendto(question[:2] + answer[:10] + question[12:] + answer[10:], asker)

        # Where nobody asks, it would wait for ever, and the run with it.
        server.settimeout(30)
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def ask(tmp_path: Path, port: int, **request: Any) -> dict[str, Any]:
    """The agent's answer, with a DNS server of ours in place of the pod's."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("search x\nnameserver 127.0.0.1\n")
    code = (
        AGENT.read_text()
        .replace('"/etc/resolv.conf"', repr(str(resolv)))
        .replace("DNS_PORT = 53", f"DNS_PORT = {port}")
    )
    line = json.dumps({"id": 1, "do": "dns", "seconds": 5, **request})
    done = subprocess.run([sys.executable, "-c", code], input=f"{line}\n", capture_output=True, text=True, timeout=30)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_answer_with_compressed_names(tmp_path: Path) -> None:
    """An SRV record whose target ends in the question's own name, as CoreDNS writes it."""
    name = "_http._tcp.web.shop.svc.mn.internal"
    begins = 12 + len("_http._tcp.") + 0
    target = b"\x02n1" + struct.pack("!H", 0xC000 | begins)
    record = struct.pack("!HHHIH", 0xC00C, 33, 1, 5, 6 + len(target)) + struct.pack("!HHH", 0, 10, 8080) + target
    with dns_server(struct.pack("!HHHHH", 0x8400, 1, 1, 0, 0) + record) as port:
        found = ask(tmp_path, port, name=name, type="SRV")
    assert (found["rcode"], found["truncated"]) == (0, False)
    assert found["records"] == ["n1.web.shop.svc.mn.internal:8080"]


def test_a_truncated_answer_and_a_refusal_say_so(tmp_path: Path) -> None:
    with dns_server(struct.pack("!HHHHH", 0x8602, 1, 0, 0, 0)) as port:
        found = ask(tmp_path, port, name="a.b", type="A")
    assert (found["rcode"], found["truncated"], found["records"]) == (2, True, [])
