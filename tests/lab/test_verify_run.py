"""How checks are made: at the same time where they bear it, told in their order, whatever ends first."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from lab.errors import LabError
from lab.reporting import Silent
from lab.verify.checks import Check, World
from lab.verify.results import Verdict
from lab.verify.run import make

NO_WORLD = cast("World", None)
PASS = Verdict(status="pass", observed="yes", expected="yes")


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def check(name: str, run: Any, *, alone: bool = False) -> Check:
    return Check(id=name, title=name, run=run, alone=alone)


def test_checks_are_made_at_the_same_time_and_told_in_their_order() -> None:
    second_is_done = threading.Event()

    def first(_: World) -> Verdict:
        assert second_is_done.wait(10)
        return PASS

    def second(_: World) -> Verdict:
        second_is_done.set()
        return PASS

    told = Told()
    results = make([check("first", first), check("second", second)], NO_WORLD, told)
    assert [result.id for result in results] == ["first", "second"]
    assert [note.split(":")[0] for note in told.notes] == ["ok   first", "ok   second"]


def test_one_that_measures_has_nothing_beside_it() -> None:
    running: set[str] = set()

    def quick(_: World) -> Verdict:
        running.add("quick")
        threading.Event().wait(0.1)
        running.discard("quick")
        return PASS

    def measures(_: World) -> Verdict:
        return Verdict(status="pass", observed=str(running), expected="nothing")

    *_, last = make([*(check(f"{n}", quick) for n in range(3)), check("m", measures, alone=True)], NO_WORLD, Silent())
    assert last.observed == "set()"


def test_an_error_of_the_lab_is_a_failed_check_and_another_one_is_raised() -> None:
    def lost(_: World) -> Verdict:
        raise LabError("no answer from the pod")

    def wrong(_: World) -> Verdict:
        raise ZeroDivisionError

    (failed,) = make([check("lost", lost)], NO_WORLD, Silent())
    assert (failed.status, failed.observed) == ("fail", "no answer from the pod")
    with pytest.raises(ZeroDivisionError):
        make([check("wrong", wrong), check("lost", lost)], NO_WORLD, Silent())
