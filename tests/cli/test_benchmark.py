"""What `benchmark` makes of durations, and in which order it takes them."""

from __future__ import annotations

import json

import pytest

from cli import benchmark, console, failover
from cli.benchmark import Durations, compare, in_turns
from lab.failover.gaps import Gap, Row
from lab.faults import FAULTS


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
        now += seconds[sum(one == name for one in order)]
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
