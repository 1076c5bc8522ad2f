from __future__ import annotations

from domain.merging import merged


def test_what_is_above_counts_and_the_rest_stays() -> None:
    below = {"a": 1, "b": {"c": 2, "d": 3}, "e": {"f": 4}, "g": [1]}
    above = {"a": 5, "b": {"c": None, "h": {}}, "e": 6, "g": [2], "i": {"j": 7}}
    assert merged(below, above) == {
        "a": 5,
        "b": {"c": None, "d": 3, "h": {}},
        "e": 6,
        "g": [2],
        "i": {"j": 7},
    }


def test_the_given_ones_stay_as_they_are() -> None:
    below, above = {"b": {"c": 2}}, {"b": {"d": 3}}
    merged(below, above)["b"]["c"] = 9
    assert (below, above) == ({"b": {"c": 2}}, {"b": {"d": 3}})
