"""What `benchmark` makes of durations, and in which order it takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli import benchmark, console, failover, first_up
from cli.benchmark import Durations, compare, in_turns
from lab.failover.gaps import Gap, Row
from lab.faults import FAULTS
from lab.first_up import FirstUp


def test_compares_medians() -> None:
    found = compare("de", [1.0, 9.0, 1.2], [2.4, 2.0, 30.0])

    assert found.empty_seconds == Durations(1.0, 1.2, 9.0)
    assert found.stack_seconds == Durations(2.0, 2.4, 30.0)
    assert found.ratio == pytest.approx(2.0)
    assert found.runs == 3
    assert found.passed


def test_the_limit_itself_passes_and_more_fails() -> None:
    assert compare("de", [2.0], [6.0]).passed
    assert not compare("de", [2.0], [6.001]).passed
    assert not compare("de", [2.0], [6.0], at_most=2.9).passed


def test_json_holds_everything_that_was_judged() -> None:
    found = json.loads(json.dumps(compare("de", [2.0, 4.0], [3.0, 3.0], at_most=1.5).as_json()))

    assert found == {
        "stack": "de",
        "runs": 2,
        "empty_seconds": {"minimum": 2.0, "median": 3.0, "maximum": 4.0},
        "stack_seconds": {"minimum": 3.0, "median": 3.0, "maximum": 3.0},
        "ratio": 1.0,
        "at_most": 1.5,
        "passed": True,
    }


@pytest.mark.parametrize(
    ("empty", "of_stack", "message"),
    [
        ([], [], "0 and 0 durations; both sides need the same number, at least one"),
        ([1.0], [1.0, 2.0], "1 and 2 durations; both sides need the same number, at least one"),
        ([1.0], [0.0], "a duration is not positive"),
    ],
)
def test_what_is_no_measurement(empty: list[float], of_stack: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        compare("de", empty, of_stack)


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    now = 0.0
    order: list[str] = []

    def side(name: str, *seconds: float) -> None:
        nonlocal now
        now += seconds[sum(other == name for other in order)]
        order.append(name)

    taken = in_turns(
        {"empty": lambda: side("empty", 50.0, 1.0, 2.0), "de": lambda: side("de", 90.0, 3.0, 4.0)},
        2,
        clock=lambda: now,
    )

    assert taken == {"empty": [1.0, 2.0], "de": [3.0, 4.0]}
    assert order == ["empty", "de"] * 3


def test_its_tables_fit_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = (Gap(0.25), Gap(1234.5, open=True))
    row = Row(
        fault=next(iter(FAULTS)),
        cluster="de",
        placement="third",
        source="de",
        target="mn",
        kind="kept",
        path="direct",
        runs=2,
        median=gaps[0],
        worst=gaps[1],
        gaps=gaps,
        failures=0,
    )
    for width, blocks in ((40, True), (200, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        benchmark.print_comparison(compare("de", [2.1], [15.3], at_most=3.0))
        failover.print_rows(console.results(), [row])
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= width
        assert "…" not in said
        for cell in ("15.30", "an empty program", "7.29 times", "kept TCP", f"{gaps[0]} s", f"{gaps[1]} s"):
            assert cell in " ".join(said.split()), (width, cell)
        assert ("\n    traffic    kept TCP\n" in said) is blocks


def run(number: int, **changes: Any) -> FirstUp:
    well: dict[str, Any] = {
        "number": number,
        "busy": 0,
        "code": 0,
        "seconds": 204.04,
        "down_code": 0,
        "down_seconds": 2.7,
        "load": 3.1,
        "steps": {"pulumi up -s de": 77.0},
        "left": (),
        "said": "",
    }
    return FirstUp(**{**well, **changes})


def test_a_first_up_passes_when_every_run_ended_well_and_left_nothing() -> None:
    well = [run(1), run(2, busy=2)]
    assert first_up.passed(well, 2)
    assert not first_up.passed(well, 3), "one that was not run"
    assert not first_up.passed([], 1)
    for change in ({"code": 1}, {"down_code": 1}, {"left": ("network namespace isthmus-wan",)}):
        assert not first_up.passed([run(1), run(2, **change)], 2)
    found = json.loads(json.dumps(first_up.as_data(well, 2)))
    assert (found["wanted"], found["passed"], len(found["runs"])) == (2, True, 2)
    assert found["runs"][1] == {
        "number": 2,
        "busy": 2,
        "code": 0,
        "seconds": 204.04,
        "down_code": 0,
        "down_seconds": 2.7,
        "load": 3.1,
        "steps": {"pulumi up -s de": 77.0},
        "left": [],
        "said": "",
        "passed": True,
    }


def test_a_first_up_that_did_not_end_well_is_shown_with_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    bad = run(2, code=1, busy=2, left=("mount /var/lib/isthmus-lab/x",), said="error: Images: no space left")
    first_up.print_runs(console.results(), [run(1), bad])
    said = capsys.readouterr().out
    assert "codes 1 and 0, 1 things left" in said
    assert "run 2: mount /var/lib/isthmus-lab/x" in said
    assert "error: Images: no space left" in said
