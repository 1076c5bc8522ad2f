"""Numbers and dates that Pulumi reads otherwise than a person: each is told, and its right neighbour is not."""

from __future__ import annotations

import pytest

from domain.fleet import check_files
from domain.yaml_scalars import misread
from tests.domain.samples import DE, MN, changed, said, text

PORT = "mn: on_premise.ssh.port"


def check(old: str, new: str) -> list[str]:
    """What is said of both stack files with this line changed in one of them."""
    files = {"de": text(changed(DE, {"hetzner.labels": {"since": "spring"}})), "mn": text(MN)}
    stack = "de" if old in files["de"] and old not in files["mn"] else "mn"
    assert files[stack].count(old) == 1
    return said(check_files({**files, stack: files[stack].replace(old, new)}))


def other(wrong: str, number: int, kind: str, meant: int) -> str:
    fix = f"write {meant}, or '{wrong}' in quotes if it is a text"
    return f"{PORT} {wrong} is {number} to Pulumi, which reads {kind} number here; {fix}."


def no_number(wrong: str) -> str:
    return f'{PORT} "{wrong}" is not a whole number; write it like 22.'


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("022", [other("022", 18, "an octal", 22)]),
        ("-022", [other("-022", -18, "an octal", -22), f"{PORT} -22 is less than 1; take 1 to 65535."]),
        ("0o26", [other("0o26", 22, "an octal", 22), no_number("0o26")]),
        ("0x16", [other("0x16", 22, "a hexadecimal", 22), no_number("0x16")]),
        ("0b10110", [other("0b10110", 22, "a binary", 22), no_number("0b10110")]),
        ("2_222", [other("2_222", 2222, "a decimal", 2222), no_number("2_222")]),
        ("1:30", [no_number("1:30")]),
        ("yes", [no_number("yes")]),
    ],
)
def test_ports(wrong: str, says: list[str]) -> None:
    assert check("port: 22\n", f"port: {wrong}\n") == says


@pytest.mark.parametrize("right", ["22", "+22", "2222", "00"])
def test_right_ports(right: str) -> None:
    said_of = check("port: 22\n", f"port: {right}\n")
    assert [sentence for sentence in said_of if "Pulumi" in sentence] == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("2026-01-02", "2026-01-02 is a date to Pulumi, which writes it out in its own way; write it in quotes."),
        (
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05Z is a date to Pulumi, which writes it out in its own way; write it in quotes.",
        ),
        (".inf", ".inf is a number to Pulumi, and one that it can't write down; write it in quotes."),
        (
            "1_0.5",
            "1_0.5 is a number to Pulumi, which leaves the underscores out; write it without them, or in quotes.",
        ),
    ],
)
def test_labels(wrong: str, says: str) -> None:
    assert check("since: spring\n", f"since: {wrong}\n")[0] == f"de: hetzner.labels.since {says}"


@pytest.mark.parametrize("right", ["'2026-01-02'", '"022"', "v0x16", "2026-01", "spring_26", "infinite"])
def test_right_labels(right: str) -> None:
    assert check("since: spring\n", f"since: {right}\n") == []


def test_the_line_is_told() -> None:
    content = text(MN).replace("port: 22\n", "port: 022\n")
    (problem,) = check_files({"de": text(DE), "mn": content})
    assert problem.line == content.splitlines().index("      port: 022") + 1


def test_nothing_of_a_setting_that_may_hold_a_secret_is_shown() -> None:
    files = {"de": text(changed(DE, {"k3s.server_config": {"debug": True}})), "mn": text(MN)}
    files["de"] = files["de"].replace("debug: true", "node-internal-dns: 01234567")
    assert said(check_files(files)) == [
        "de: k3s.server_config.node-internal-dns is a number or a date to Pulumi, another one than it seems; quote it."
    ]


@pytest.mark.parametrize("key", ["isthmus:clusterSecret", "aws:region"])
def test_secrets_and_settings_of_others_are_left_to_others(key: str) -> None:
    files = {"de": text(DE) + f"  {key}x: 022\n", "mn": text(MN)}
    assert not any("Pulumi" in sentence for sentence in said(check_files(files)) if key in sentence)


def test_a_long_number_is_not_worked_out() -> None:
    assert misread("0" + "7" * 40) is None
