"""Tables that fit the terminal: cells are wrapped within their column, and nothing of them is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.tables import Row, fitted, grouped, table, wrapped

WORDS = st.lists(st.text("ab/-.", min_size=1, max_size=30), min_size=1, max_size=6).map(" ".join)


def lines_of(heads: tuple[str, ...], rows: Sequence[Row], width: int) -> list[str]:
    return "".join(segment.text for segment in table("Title", heads, rows, width=width)).splitlines()


@given(WORDS, st.integers(5, 60))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("10.0.1.0/24 in 10.0.0.0/16", 12, ["10.0.1.0/24", "in", "10.0.0.0/16"]),
        ("netbirdio/netbird:0.77.1", 16, ["netbirdio/", "netbird:0.77.1"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("", 4, [""]),
    ],
)
def test_where_a_cell_is_wrapped(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines


def test_the_widest_column_gives_way() -> None:
    assert fitted([7, 30, 20], [7, 10, 10], 45) == [7, 19, 19]
    assert fitted([7, 30, 20], [7, 25, 20], 45) is None


HEADS = ("cluster", "names in", "policy")
ROWS = [("de → mn", "a.very.long.zone.of.some.cluster.internal", "one two three four five six")]


def test_a_long_cell_goes_on_below_itself() -> None:
    assert lines_of(HEADS, ROWS, 50) == [
        "Title",
        "  cluster  names in            policy",
        "  de → mn  a.very.long.zone.   one two three four",
        "           of.some.cluster.    five six",
        "           internal",
        "",
    ]


def test_a_row_becomes_a_block_where_its_columns_have_no_room() -> None:
    assert lines_of(HEADS, ROWS, 34) == [
        "Title",
        "  de → mn",
        "    names in",
        "      a.very.long.zone.of.some.",
        "      cluster.internal",
        "    policy    one two three four",
        "              five six",
        "",
    ]


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), st.integers(40, 120))
def test_no_line_is_too_long_and_no_letter_lost(rows: list[tuple[str, ...]], width: int) -> None:
    lines = lines_of(("FIRST", "SECOND", "THIRD"), rows, width)
    assert max(map(len, lines)) <= width
    expected = Counter(character for row in rows for cell in row for character in cell if character != " ")
    assert Counter(character for line in lines[1:] for character in line if character in "ab/-.") == expected


def test_what_several_share_stands_there_once() -> None:
    assert grouped([("de", "1"), ("mn", "1")]) == [("all", "1")]
    assert grouped([("de", "1"), ("mn", "2"), ("us", "1")]) == [("de, us", "1"), ("mn", "2")]
    names = [(f"c{number}", "1") for number in range(5)]
    assert grouped([("de", "2"), *names]) == [("de", "2"), ("all others", "1")]
    assert grouped([("de", "1")]) == [("de", "1")]
