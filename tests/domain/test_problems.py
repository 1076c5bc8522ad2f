from __future__ import annotations

import pytest

from domain.problems import Problem, in_file_order, kind_of, shown


def test_text() -> None:
    problem = Problem(
        "mn", "network.pod_cidr", "10.42.0.0/16", "overlaps it; they must differ", "10.44.0.0/16 is free", 5
    )
    assert str(problem) == (
        "mn: network.pod_cidr 10.42.0.0/16 overlaps it; they must differ; 10.44.0.0/16 is free. [Pulumi.mn.yaml:5]"
    )


def test_text_without_value_and_line() -> None:
    assert str(Problem("mn", "netwerk", "", "is not a setting", "did you mean network?")) == (
        "mn: netwerk is not a setting; did you mean network?"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("fsn1", "fsn1"),
        (1280, "1280"),
        (True, "true"),
        (None, "(empty)"),
        ("", '""'),
        (" a", "' a'"),
        ("a\nb", "'a\\nb'"),
        ("\x1b[31m", "'\\x1b[31m'"),
        ("\u202eabc", "'\\u202eabc'"),
        ("a" * 81, "a" * 77 + "..."),
        ({"password": "hunter2"}, "(an object)"),
        (["hunter2"], "(a list)"),
        (10**100, "(a huge number)"),
        ("admin:hunter2@nb.example.net", "(hidden)"),
        ("https://me:hunter2@nb.example.net", "(hidden)"),
        ("root@mn-1", "root@mn-1"),
        ("registry.example.net:5000/netbird@sha256:abc", "registry.example.net:5000/netbird@sha256:abc"),
        ("me:hunter2@example.net/netbird@sha256:abc", "(hidden)"),
        (float("inf"), "inf"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("hunter2", "(a text)"), ("", '""'), (True, "(a truth value)"), (4, "(a number)"), (0.5, "(a number)"),
     (None, "(empty)"), ({}, "(an object)"), ([], "(a list)")],
)  # fmt: skip
def test_kind(value: object, text: str) -> None:
    assert kind_of(value) == text


def test_order() -> None:
    first, second = Problem("de", "a", "", "r", "f", 2), Problem("de", "b", "", "r", "f", 9)
    without, other = Problem("de", "c", "", "r", "f"), Problem("mn", "a", "", "r", "f", 1)
    assert in_file_order([other, without, second, first]) == [first, second, without, other]


def test_a_number_too_long_to_be_written() -> None:
    assert shown(10**5000) == "(a huge number)"
