"""The judgement of the benchmark; it itself runs in tests/engine/test_hetzner_lookup.py."""

from __future__ import annotations

import pytest

from tests.benchmark_lookup import ASKS, LIMIT_SECONDS, Added, Seconds, judged
from tests.tutorial import REPOSITORY


def test_the_median_of_the_pairs_is_judged() -> None:
    asking = [Seconds(4.5, 2.0), Seconds(4.2, 2.1), Seconds(9.0, 2.2)]
    silent = [Seconds(4.0, 1.9), Seconds(4.1, 2.0), Seconds(4.0, 2.0)]
    found = judged(asking, silent)
    assert found == Added(pairs=3, asking_clock=4.5, silent_clock=4.0, added_clock=0.5, added_processor=0.1)
    assert not found.good
    assert judged(silent, asking).added_clock == -0.5
    assert judged(asking[1:2], silent[1:2]).good
    assert LIMIT_SECONDS == 0.3


def test_nothing_is_no_measure() -> None:
    with pytest.raises(ValueError, match="no pair"):
        judged([], [])
    with pytest.raises(ValueError, match=r"longer|shorter"):
        judged([Seconds(1.0, 1.0)], [])


def test_the_line_that_asks_is_the_programs() -> None:
    assert (REPOSITORY / "__main__.py").read_text(encoding="utf-8").count(ASKS) == 1
