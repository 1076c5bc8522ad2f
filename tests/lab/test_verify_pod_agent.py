"""What runs in a probe pod, with commands that say what real ones say."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.verify import pod_agent

LATE = "4 packets transmitted, {received} received, {loss}% packet loss, time 611ms"
"""Of iputils' ping with -c 3 -i 0.2 -w 3 when the first reply takes longer than three more sendings."""


@pytest.mark.parametrize(("received", "expected"), [(4, 3), (3, 3), (2, 2), (0, 0)])
def test_a_late_answer_makes_ping_send_once_more_and_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: int, expected: int
) -> None:
    said = LATE.format(received=received, loss=(4 - received) * 25)
    program = tmp_path / "ping"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = pod_agent.ping({"address": "10.52.0.7", "count": 3, "seconds": 3})
    assert (answer["received"], answer["ok"]) == (expected, expected > 0)
    assert answer["text"] == said


# --- a load of questions ----------------------------------------------------------------------------------------------

RATE: Final = 5000


def test_questions_are_due_by_the_clock() -> None:
    pace = pod_agent.Pace(RATE, RATE * 60, 100.0)
    sent = [pace.due(100.0 + step / 1000) for step in range(60_001)]
    assert sum(sent) == RATE * 60
    assert set(sent[1:]) == {4, 5, 6}
    assert pace.due(161.0) == 0


def test_who_did_not_run_for_a_while_asks_no_faster_than_the_asked_can_hear() -> None:
    pace = pod_agent.Pace(RATE, RATE * 10, 0.0)
    assert sum(pace.due(step / 1000) for step in range(1001)) == RATE
    # Half a second later 2,500 are due.
    late = [pace.due(1.5 + step / 1000) for step in range(2501)]
    assert late[0] == pod_agent.AT_ONCE
    assert max(late[1:]) == 7
    assert max(sum(late[start : start + 100]) for start in range(1, 2400)) <= RATE * pod_agent.CATCHING_UP / 10 + 1
    # 1,250 a second are made up for.
    assert pace.sent == RATE * 4
    assert late[-100:] == [5] * 100


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """A DNS server that answers with one record, every seventh question with an error, and one for ``silent`` never:
    how many questions it got from which port.
    """
    asked: Counter[int] = Counter()

    def serve() -> None:
        while True:
            question, client = listening.recvfrom(512)
            if not question:
                return
            asked[client[1]] += 1
            if b"silent" not in question:
                code, records = (2, 0) if asked.total() % 7 == 0 else (0, 1)
                listening.sendto(question[:2] + struct.pack("!HHHHH", 0x8000 | code, 1, records, 0, 0), client)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        monkeypatch.setattr(pod_agent, "_server", lambda: "127.0.0.1")
        monkeypatch.setattr(pod_agent, "DNS_PORT", listening.getsockname()[1])
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", listening.getsockname())
        thread.join(10)


def test_every_question_is_counted_once_and_asked_from_several_sockets(server: Counter[int]) -> None:
    # So few that the server's socket has room for all of them at once.
    load = {"names": ["a.de.internal", "b.de.internal"], "rate": 1000, "lasts": 0.2, "seconds": 30}
    answer = pod_agent.dns_load(load)
    assert answer.pop("worst_ms") > 0
    assert answer == {"ok": True, "sent": 200, "answered": 200, "refused": 200 // 7, "lost_here": 0}
    assert sorted(server.values()) == [200 // pod_agent.LOAD_SOCKETS] * pod_agent.LOAD_SOCKETS


@pytest.mark.usefixtures("server")
def test_a_question_without_an_answer_is_waited_for_and_not_counted() -> None:
    answer = pod_agent.dns_load({"names": ["silent.de.internal"], "rate": 100, "lasts": 0.1, "seconds": 0.1})
    assert 0 < answer["sent"] <= 10
    assert (answer["answered"], answer["refused"], answer["lost_here"]) == (0, 0, 0)


def test_what_finds_no_room_in_the_own_socket_is_counted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as full:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        full.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            for _ in range(100):
                sending.sendto(b"x", full.getsockname())
        full.setblocking(False)
        kept = 0
        try:
            while full.recv(16):
                kept += 1
        except BlockingIOError:
            pass
        assert 0 < kept < 100
        assert pod_agent._dropped(full) == 100 - kept
