"""What runs in a probe pod, with commands that say what real ones say."""

from __future__ import annotations

from pathlib import Path

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
