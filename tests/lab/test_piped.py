from __future__ import annotations

import sys
import threading

import pytest

from lab.piped import Piped

ECHO = "import sys\nfor line in sys.stdin: print(line.strip() * 2, flush=True)"


def test_it_is_told_and_tells_until_its_input_ends() -> None:
    told: list[str] = []
    both, over = threading.Event(), threading.Event()

    def read(line: str) -> None:
        told.append(line)
        if len(told) == 2:
            both.set()

    process = Piped([sys.executable, "-c", ECHO], read, ended=over.set, environment={})
    process.tell("ab")
    process.tell("c")
    assert both.wait(60)
    assert not process.has_ended()
    assert process.complaint(100) == ""
    process.end(60)
    assert over.is_set()
    assert told == ["abab\n", "cc\n"]


def test_one_that_fails_says_why() -> None:
    over = threading.Event()
    process = Piped([sys.executable, "-c", "raise SystemExit('no' * 9)"], print, ended=over.set)
    assert over.wait(60)
    while not process.has_ended():
        pass
    assert process.complaint(4) == "nono"
    with pytest.raises(BrokenPipeError):
        process.tell("more")
    process.end(60)


def test_one_that_does_not_listen_is_killed() -> None:
    process = Piped([sys.executable, "-c", "import time; print(); time.sleep(3600)"], print)
    process.end(0.1)
    assert process.has_ended()
