"""Somebody on an agent who writes to the API five times a second (``lease_writer.py``), and how long that waited."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab import machines
from lab.commands import wait_until

PROGRAM: Final = Path(__file__).with_name("lease_writer.py")
FIRST_SECONDS: Final = 60.0


@dataclass
class Writer:
    """What a writer told: when each write was taken (CLOCK_MONOTONIC, seconds), and why others were not."""

    node: str
    taken: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def longest_wait(self) -> float:
        """From one write that was taken to the next, in seconds."""
        return max(after - before for before, after in itertools.pairwise(self.taken))

    def read(self, process: subprocess.Popen[str]) -> None:
        """Until the writer ends."""
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if told["failed"]:
                self.failed.append(told["failed"])
            else:
                self.taken.append(told["at"])


@contextlib.contextmanager
def writer(node: str) -> Iterator[Writer]:
    """One on this node, which has written when the block begins, and is done after it."""
    found = Writer(node)
    command = ["python3", "-u", "-c", PROGRAM.read_text(encoding="utf-8"), node]
    process = subprocess.Popen(
        machines.exec_command(node, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    reader = threading.Thread(target=found.read, args=[process])
    reader.start()
    try:
        wait_until(lambda: found.taken, what=f"{node} writes", deadline_seconds=FIRST_SECONDS, state=lambda: str(found))
        yield found
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            code = process.wait(30.0)
        finally:
            process.kill()
            reader.join()
        assert process.stderr is not None
        assert code == 0, process.stderr.read()
