"""The prober itself, two of it on this machine's loopback: what it hears, what it misses, what it says of a break."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

import pytest

from lab.failover import pod_prober
from lab.failover.gaps import KINDS, is_calm, longest_gap

DEADLINE_SECONDS = 20.0


class Running:
    """A prober that listens on one port of this machine and asks another one."""

    def __init__(self, listens: int, asks: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-u", pod_prober.__file__],
            env={"PROBER_LISTEN": str(listens), "PROBER_ASK": str(asks)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answers: dict[str, list[float]] = {}
        self.events: list[list[Any]] = []
        self.now = 0.0

    @property
    def stdin(self) -> IO[str]:
        assert self.process.stdin is not None
        return self.process.stdin

    def order(self, **order: Any) -> None:
        self.stdin.write(json.dumps(order) + "\n")
        self.stdin.flush()

    def hear(self) -> None:
        """Its next word."""
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        for key, times in told["answers"].items():
            self.answers.setdefault(key, []).extend(times)
        self.events += told["events"]
        self.now = told["now"]

    def until(self, condition: Any) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < end, (self.answers.keys(), self.events)
            self.hear()

    def calm(self, flow: str) -> bool:
        return all(is_calm(self.answers.get(f"{flow} {kind}", ()), now=self.now, seconds=1.0) for kind in KINDS)

    def end(self) -> int:
        self.stdin.close()
        code = self.process.wait(timeout=DEADLINE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextlib.contextmanager
def running(*, listens: int, asks: int) -> Iterator[Running]:
    made = Running(listens, asks)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        for stream in (made.process.stdin, made.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def prober() -> Iterator[Running]:
    with running(listens=15411, asks=15411) as made:
        yield made


def test_all_kinds_are_answered_and_times_are_those_of_one_clock(prober: Running) -> None:
    prober.hear()
    before = time.monotonic()
    prober.order(start={"a>a": "127.0.0.1"})
    prober.until(lambda: prober.calm("a>a"))
    assert {key.split()[1] for key in prober.answers} == set(KINDS)
    assert all(before <= moment <= time.monotonic() for times in prober.answers.values() for moment in times)
    assert prober.events == []


def test_it_asks_nobody_any_more_once_stopped_and_ends_with_its_input(prober: Running) -> None:
    prober.order(start={"a>a": "127.0.0.1"})
    prober.until(lambda: prober.calm("a>a"))
    prober.order(stop=True)
    prober.hear()
    prober.hear()
    counted = {key: len(times) for key, times in prober.answers.items()}
    prober.hear()
    prober.hear()
    assert {key: len(times) for key, times in prober.answers.items()} == counted
    assert prober.end() == 0


def test_an_end_of_the_other_side_is_a_gap_in_every_kind_and_a_break_of_what_was_kept() -> None:
    with running(listens=15412, asks=15413) as asking:
        with running(listens=15413, asks=15413) as other:
            other.hear()
            asking.order(start={"a>b": "127.0.0.1"})
            asking.until(lambda: asking.calm("a>b"))
        ended = time.monotonic()
        asking.until(lambda: asking.now > ended + 1.5)
        assert not asking.calm("a>b")
        with running(listens=15413, asks=15413):
            asking.until(lambda: asking.calm("a>b"))
            for kind in KINDS:
                gap = longest_gap(asking.answers[f"a>b {kind}"], begin=ended, end=asking.now)
                assert 1.5 < gap.seconds < asking.now - ended, kind
                assert not gap.open
    assert {event[0] for event in asking.events} == {"a>b kept", "a>b tcp"}
    assert all(ended - 1 < event[1] < asking.now for event in asking.events)
    assert all(event[2] for event in asking.events)
