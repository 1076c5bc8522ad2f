"""From answers to gaps, from gaps to rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.failover.gaps import Gap, Sample, is_calm, longest_gap, median, rows, worst

EVERY = 0.05


def answers(*spans: tuple[float, float]) -> list[float]:
    """An answer every 50 ms in each span."""
    return [begin + number * EVERY for begin, end in spans for number in range(round((end - begin) / EVERY) + 1)]


@pytest.mark.parametrize(
    ("came", "gap"),
    [
        (answers((0, 30)), Gap(EVERY)),
        (answers((0, 10), (12.5, 30)), Gap(2.5)),
        # A second, longer one: an agent that comes back may break what has healed.
        (answers((0, 10), (11, 15), (18, 30)), Gap(3.0)),
        # Before the fault nothing counts.
        (answers((0, 2), (6, 10), (10.5, 30)), Gap(0.5)),
        # It begins before the fault: the last answer was early.
        (answers((0, 9.9), (12, 30)), Gap(2.1)),
        (answers((0, 10)), Gap(20.0, open=True)),
        (answers((0, 10), (14, 20)), Gap(10.0, open=True)),
        # It came back, and what is missing at the end is less than what was before: that is the gap.
        (answers((0, 10), (25, 28)), Gap(15.0)),
        # A pause at the end that is no longer than what the prober needs to tell.
        (answers((0, 29.6)), Gap(0.4)),
    ],
)
def test_the_longest_time_without_an_answer(came: list[float], gap: Gap) -> None:
    found = longest_gap(reversed(came), begin=10.0, end=30.0)
    assert found.seconds == pytest.approx(gap.seconds)
    assert found.open is gap.open


def test_nothing_was_measured_where_nothing_came_before_the_fault() -> None:
    with pytest.raises(ValueError, match=r"^no answer came before the fault$"):
        longest_gap(answers((11, 30)), begin=10.0, end=30.0)
    with pytest.raises(ValueError, match=r"^no answer came before the fault$"):
        longest_gap([], begin=10.0, end=30.0)


@pytest.mark.parametrize(
    ("came", "calm"),
    [
        (answers((0, 10)), True),
        (answers((7, 10)), True),
        (answers((0, 8), (8.9, 10)), True),
        (answers((0, 8), (9.1, 10)), False),
        (answers((0, 8.9)), False),
        (answers((8.2, 10)), False),
        ([], False),
    ],
)
def test_calm_is_an_answer_at_least_every_second(came: list[float], calm: bool) -> None:
    assert is_calm(came, now=10.0, seconds=3.0) is calm


@pytest.mark.parametrize(
    ("gaps", "middle", "longest"),
    [
        ([Gap(1.0), Gap(3.0), Gap(2.0)], Gap(2.0), Gap(3.0)),
        ([Gap(1.0), Gap(2.0)], Gap(1.5), Gap(2.0)),
        # One that is open is longer than all: the median stays what it is.
        ([Gap(1.0), Gap(2.0), Gap(30.0, open=True)], Gap(2.0), Gap(30.0, open=True)),
        ([Gap(1.0), Gap(30.0, open=True), Gap(29.0, open=True)], Gap(29.0, open=True), Gap(30.0, open=True)),
        # Open and short: what it was in truth may move the median up.
        ([Gap(1.0, open=True), Gap(2.0), Gap(3.0)], Gap(2.0, open=True), Gap(3.0, open=True)),
        ([Gap(0.5)], Gap(0.5), Gap(0.5)),
    ],
)
def test_median_and_worst_say_when_it_may_be_more(gaps: Sequence[Gap], middle: Gap, longest: Gap) -> None:
    assert (median(gaps), worst(gaps)) == (middle, longest)


def test_a_gap_reads_as_what_is_known_of_it() -> None:
    assert [str(gap) for gap in (Gap(1.234), Gap(30.0, open=True))] == ["1.23", "> 30.00"]


SAMPLE = Sample(
    fault="agent-killed",
    cluster="mn",
    router="mn-2",
    placement="third",
    source="de",
    target="mn",
    kind="tcp",
    path="direct",
    run=1,
    gap=Gap(1.25),
)


def test_runs_of_a_kind_make_a_row_whichever_router_it_was() -> None:
    samples = [
        SAMPLE,
        replace(SAMPLE, kind="kept", gap=Gap(3.0), failures=1),
        replace(SAMPLE, run=2, router="mn-3", gap=Gap(0.75)),
        replace(SAMPLE, placement="router", gap=Gap(9.0)),
        replace(SAMPLE, run=3, gap=Gap(30.0, open=True)),
        replace(SAMPLE, kind="kept", run=2, gap=Gap(5.0), failures=2),
    ]
    found = rows(samples)
    assert [(row.placement, row.kind, row.runs, row.median, row.worst, row.failures) for row in found] == [
        ("third", "tcp", 3, Gap(1.25), Gap(30.0, open=True), 0),
        ("third", "kept", 2, Gap(4.0), Gap(5.0), 3),
        ("router", "tcp", 1, Gap(9.0), Gap(9.0), 0),
    ]
    assert found[0].gaps == (Gap(1.25), Gap(0.75), Gap(30.0, open=True))


@pytest.mark.parametrize(
    "other",
    [
        {"fault": "machine-dead"},
        {"cluster": "de"},
        {"source": "mn", "target": "de"},
        {"path": "relayed"},
        {"kind": "udp"},
    ],
)
def test_what_differs_in_more_than_the_run_is_another_row(other: dict[str, str]) -> None:
    assert len(rows([SAMPLE, replace(SAMPLE, **other)])) == 2  # type: ignore[arg-type]


def test_json_tells_all_of_a_row() -> None:
    (row,) = rows([SAMPLE, replace(SAMPLE, run=2, gap=Gap(30.0004, open=True))])
    assert json.loads(json.dumps(row.as_json())) == {
        "fault": "agent-killed",
        "cluster": "mn",
        "placement": "third",
        "source": "de",
        "target": "mn",
        "kind": "tcp",
        "path": "direct",
        "runs": 2,
        "median_seconds": 15.625,
        "median_is_least": False,
        "worst_seconds": 30.0,
        "worst_is_least": True,
        "not_back": 1,
        "seconds": [1.25, 30.0],
        "failures": 0,
    }
