"""Raising the lab again and again: what runs beside it, and what is made of a run; `lab up` itself is played."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import first_up, state
from lab.errors import LabInUse
from lab.reporting import Silent

PLAYED = """#!/bin/sh
echo "lab $2 of run $(cat {count})"
[ "$2" = up ] || exit 0
echo x >> {count}
[ "$(wc -l < {count})" != 2 ]
"""
"""Its second `lab up` ends with 1."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose `isthmus` is played, on a machine without a lab."""
    (tmp_path / "count").touch()
    script = tmp_path / "isthmus"
    script.write_text(PLAYED.format(count=tmp_path / "count"))
    script.chmod(0o755)
    monkeypatch.setattr(first_up, "REPOSITORY", tmp_path)
    monkeypatch.setattr(state, "leftovers", list)
    monkeypatch.setattr(first_up, "read_timings", lambda: [{"run": "lab up", "steps": [{"step": "a", "seconds": 1.5}]}])
    return tmp_path


def test_every_second_run_has_company() -> None:
    assert [first_up.beside(number, 2) for number in range(1, 11)] == [0, 2] * 5
    assert [first_up.beside(number, 0) for number in (1, 2)] == [0, 0]


def test_each_run_is_told_as_it_ended(checkout: Path) -> None:
    found = list(first_up.measure(Silent(), checkout, runs=3, busy=1))
    assert [(run.number, run.busy, run.code, run.down_code, run.passed) for run in found] == [
        (1, 0, 0, 0, True),
        (2, 1, 1, 0, False),
        (3, 0, 0, 0, True),
    ]
    assert [run.said.startswith("lab up of run") for run in found] == [False, True, False]
    assert all(run.steps == {"a": 1.5} and run.seconds >= 0 for run in found)
    assert [line for line in (checkout / "3.log").read_text().splitlines() if line.startswith("lab down")]


def test_a_lab_that_is_there_is_somebodys(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "leftovers", lambda: ["network namespace isthmus-wan"])
    with pytest.raises(LabInUse, match=r"There is a lab, .*: network namespace isthmus-wan\. "):
        list(first_up.measure(Silent(), checkout, runs=1, busy=0))
    assert not (checkout / "1.log").exists()


def test_what_runs_beside_it_ends_with_it() -> None:
    def names() -> int:
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return shown.count("sleep 77.125")

    with first_up.processes_at_work(2, ["sleep", "77.125"]):
        assert names() == 2
    assert names() == 0
