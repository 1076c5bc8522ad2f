from __future__ import annotations

from keeper.through import REMEMBERED, SILENT, Through

TARGET = "10.52.2.1"


def worked() -> Through:
    """It is asked, and has answered once."""
    way = Through()
    way.next_round(TARGET)
    way.asked(1)
    assert way.hear(TARGET, 1)
    way.next_round(TARGET)
    return way


def test_silence_is_bad_only_where_it_has_worked() -> None:
    never = Through()
    for number in range(50):
        never.next_round(TARGET)
        never.asked(number)
    assert not never.bad
    way = worked()
    for _ in range(SILENT - 1):
        way.next_round(TARGET)
        assert not way.bad
    way.next_round(TARGET)
    assert way.bad


def test_nobody_behind_it_or_somebody_else_is_no_silence() -> None:
    for target in ("", "10.52.3.1"):
        way = worked()
        for _ in range(50):
            way.next_round(target)
        assert not way.bad


def test_it_stays_bad_while_it_is_not_used_and_then_no_longer() -> None:
    way = worked()
    for _ in range(SILENT):
        way.next_round(TARGET)
    for _ in range(REMEMBERED - 1):
        way.rest()
        assert way.bad
    way.rest()
    assert not way.bad


def test_an_answer_makes_it_good_at_once() -> None:
    way = worked()
    for _ in range(SILENT):
        way.next_round(TARGET)
    way.asked(9)
    assert way.hear(TARGET, 9)
    assert not way.bad


def test_only_an_answer_to_what_was_asked_counts() -> None:
    way = worked()
    way.asked(2)
    assert not way.hear("10.52.9.9", 2)
    assert not way.hear(TARGET, 3)
    assert way.hear(TARGET, 2)
    assert not way.hear(TARGET, 2)
